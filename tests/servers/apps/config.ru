# The answers of answers.py, for Puma. Each release names its version in release.py.
version = File.read('release.py')[/^VERSION = '(\w+)'/, 1] or raise 'the release is broken'
fast = "version #{version}\n"
stream = Enumerator.new do |lines|
  (1..50).each do |number|
    lines << "version #{version} line #{number} of 50\n"
    sleep 0.1
  end
end

run(lambda do |env|
  headers = { 'content-type' => 'text/plain' }
  case env['PATH_INFO']
  when '/stream' then [200, headers, stream]
  when '/upload' then [200, headers, ["version #{version} received #{env['rack.input'].read.bytesize} bytes\n"]]
  else
    sleep 2 if env['PATH_INFO'] == '/slow'
    [200, headers, [fast]]
  end
end)
