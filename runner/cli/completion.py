"""Print a script that completes commands, groups, options, keys and runs.

eval "$(runner completion bash)"         in ~/.bashrc
eval "$(runner completion zsh)"          in ~/.zshrc
runner completion fish | source          in ~/.config/fish/config.fish
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from runner.cli.configure import machine, output_root
from runner.foundation import options as conf
from runner.recording import directory

TAKES_RUN = ("resume", "evaluate", "diff", "report")
TAKES_CONFIGURATION = ("train", "show")

SCRIPTS = {
    "bash": """\
_runner() {
    local IFS=$'\\n' word="${COMP_LINE:0:COMP_POINT}"
    word="${word##* }"
    COMPREPLY=($(runner completion words -- "${COMP_WORDS[1]}" "$word" 2>/dev/null))
    [[ ${#COMPREPLY[@]} -eq 1 && $COMPREPLY == *[=.] ]] && compopt -o nospace
    [[ $word == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}")
}
complete -F _runner runner
""",
    "zsh": """\
_runner() {
    local -a found
    found=("${(@f)$(runner completion words -- "${words[2]}" "${words[CURRENT]}" 2>/dev/null)}")
    compadd -Q -S '' -a found
}
compdef _runner runner
""",
    "fish": """\
complete -c runner -f -a '(runner completion words -- (commandline -opc)[2] (commandline -ct))'
""",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words: a shell, or `words` and what stands on the line."""
    parser.add_argument("shell", choices=[*SCRIPTS, "words"])
    parser.add_argument("line", nargs="*", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Print the script, or the words that begin as the last one does."""
    if options.shell in SCRIPTS:
        print(SCRIPTS[options.shell], end="")
        return 0
    verb, word = (options.line[0], options.line[-1]) if options.line else ("", "")
    print("\n".join(sorted({each for each in candidates(verb, word) if each.startswith(word)})))
    return 0


def candidates(verb: str, word: str) -> Iterator[str]:
    """Yield what may stand where `word` stands, after `verb`."""
    from runner.cli import VERBS

    if verb == word:
        yield from VERBS
    if verb in TAKES_RUN:
        yield "last"
        yield from (run.name for run in directory.runs(output_root()))
        return
    if verb in VERBS and verb not in (*TAKES_CONFIGURATION, "list"):
        return
    groups = conf.groups(conf.folders(machine().get("config_dir", [])))
    if verb == "list":
        yield from groups
        return
    for group, options in groups.items():
        yield f"{group}="
        if word.startswith(f"{group}="):
            yield from (f"{group}={option}" for option in options)
        if word.startswith(f"{group}."):
            yield from (
                f"{group}.{key}=" for path in options.values() for key, _ in conf.keys(path)
            )
    yield from (f"{key}=" for key in conf.top_level_keys())
    if verb != "show":
        yield from (f"{conf.SEEDS}=", "run_dir=")
        if verb != word:  # else it is the command `resume` that is being typed
            yield "resume="
