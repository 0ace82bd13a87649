// The JDK's own HTTP server, with a thread for each request. bench/setup.sh compiles it.
//
//     zoo-java 127.0.0.1 8000

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;

class JavaServer {
    static final int LINES = 50;
    static final int LINE_PAUSE = 100;
    static final int SLOW = 2000;

    interface Answer {
        void to(HttpExchange exchange) throws IOException, InterruptedException;
    }

    public static void main(String[] arguments) throws IOException {
        // The release in the working directory; a broken one does not have it.
        String version = Files.readString(Path.of("public/fast")).strip();
        var address = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        HttpServer server = HttpServer.create(address, 0);
        serve(server, "/fast", exchange -> send(exchange, version + "\n"));
        serve(server, "/slow", exchange -> {
            Thread.sleep(SLOW);
            send(exchange, version + "\n");
        });
        serve(server, "/stream", exchange -> {
            exchange.sendResponseHeaders(200, 0);
            OutputStream body = exchange.getResponseBody();
            for (int line = 1; line <= LINES; line++) {
                body.write((version + " line " + line + " of " + LINES + "\n").getBytes());
                body.flush();
                Thread.sleep(LINE_PAUSE);
            }
        });
        serve(server, "/upload", exchange -> {
            long length = exchange.getRequestBody().transferTo(OutputStream.nullOutputStream());
            send(exchange, version + " received " + length + " bytes\n");
        });
        server.setExecutor(Executors.newCachedThreadPool());
        server.start();
    }

    static void serve(HttpServer server, String path, Answer answer) {
        server.createContext(path, exchange -> {
            try {
                answer.to(exchange);
            } catch (InterruptedException error) {
                throw new IOException(error);
            } finally {
                exchange.close();
            }
        });
    }

    static void send(HttpExchange exchange, String text) throws IOException {
        exchange.sendResponseHeaders(200, text.length());
        exchange.getResponseBody().write(text.getBytes());
    }
}
