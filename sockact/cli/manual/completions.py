"""The scripts by which a shell asks `sockact` itself what may come next.

bash's is click's own, and so is zsh's function; but click's way of calling it, in a file of $fpath,
works at the first TAB and the third, not at the second, and before click 8.1.4 not at the first.

click's script for fish is broken in 8.4.0 and 8.4.1 (pallets/click#3502), and what it understands
changes from one version to the next, while the command may run with another click than the script
was made with. Ours understands what zsh's does, which click keeps as it is.
"""

from __future__ import annotations

from click.shell_completion import ShellComplete, get_completion_class

from sockact.cli.main import cli

# Three lines for each answer: its kind, the word (with \: for : where there is a help), the help.
_FISH = r"""function _sockact_completion
    set -l answer (env COMP_WORDS=(commandline -cp | string collect) \
        COMP_CWORD=(count (commandline -opc)) _SOCKACT_COMPLETE=zsh_complete sockact)
    for line in (seq 1 3 (count $answer))
        set -l word $answer[(math $line + 1)]
        set -l help $answer[(math $line + 2)]
        switch $answer[$line]
            case dir
                __fish_complete_directories $word
            case file
                __fish_complete_path $word
            case plain
                if test "$help" = _
                    echo $word
                else
                    printf '%s\t%s\n' (string replace -a '\:' ':' -- $word) $help
                end
        end
    end
end

complete --no-files --command sockact --arguments "(_sockact_completion)"
"""


def files() -> dict[str, str]:
    """Path → text, by the names that each shell looks for."""
    return {
        "completions/sockact.bash": _clicks("bash"),
        "completions/_sockact": _zsh(),
        "completions/sockact.fish": _FISH,
    }


def _zsh() -> str:
    function, end, _ = _clicks("zsh").partition("\n}\n")
    return f'{function}{end}\n_sockact_completion "$@"\n'


def _clicks(shell: str) -> str:
    found = get_completion_class(shell)
    assert found is not None, shell
    # Not bash's own method: it looks for a bash of some version on this machine.
    return ShellComplete.source(found(cli, {}, "sockact", "_SOCKACT_COMPLETE"))
