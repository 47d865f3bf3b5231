"""``nvoi completion``: a shell's script, and what the script asks at each Tab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence

from nvoi.cli.commands import build_parser

# Each script hands over the words before the cursor, and the one at it last, behind a dot: shells
# lose an empty argument. Where nothing comes back, the shell completes names of files.
SCRIPTS = {
    "bash": """\
_nvoi() {
  local current=${COMP_WORDS[COMP_CWORD]}
  local -a words=("${COMP_WORDS[@]:1:COMP_CWORD-1}")
  local IFS=$'\\n'
  COMPREPLY=($(nvoi completion --words "${words[@]}" ".$current" 2>/dev/null | cut -f 1))
}
complete -o default -F _nvoi nvoi
""",
    "zsh": """\
#compdef nvoi
_nvoi() {
  local word help
  local -a found
  nvoi completion --words "${(@)words[2,CURRENT-1]}" ".${words[CURRENT]}" 2>/dev/null |
    while IFS=$'\\t' read -r word help; do found+=("$word:$help"); done
  if (( $#found )); then _describe nvoi found; else _files; fi
}
if [ "${funcstack[1]}" = _nvoi ]; then _nvoi "$@"; else compdef _nvoi nvoi; fi
""",
    "fish": """\
function __nvoi_complete
    set -l words (commandline -opc)
    set -l found (nvoi completion --words $words[2..] .(commandline -ct) 2>/dev/null)
    if set -q found[1]
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c nvoi -f -a '(__nvoi_complete)'
""",
    "powershell": """\
Register-ArgumentCompleter -Native -CommandName nvoi -ScriptBlock {
    param($current, $line, $position)
    $words = @($line.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $position } | ForEach-Object { "$_" })
    nvoi completion --words @words ".$current" 2>$null | ForEach-Object {
        $word, $help = $_ -split "`t", 2
        if (-not $help) { $help = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $help)
    }
}
""",
}


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:  # noqa: ARG001 - as all commands have it
    """Print the script of a shell, or a line for each word that may come next."""
    if options.words is None:
        sys.stdout.write(SCRIPTS[options.shell])
        return 0
    *before, current = options.words or ["."]
    for word, text in find_words(before, current.removeprefix(".")):
        sys.stdout.write(f"{word}\t{text}\n")
    return 0


def find_words(before: Sequence[str], current: str) -> Iterator[tuple[str, str]]:
    """What begins as ``current`` does and may come after ``before``, each with its help."""
    parser: argparse.ArgumentParser = build_parser([], complete=True)
    option: argparse.Action | None = None
    for word in before:
        if option is not None:
            option = None
        elif word in parser._option_string_actions:
            action = parser._option_string_actions[word]
            option = action if action.nargs is None else None
        else:
            parser = find_commands(parser).get(word, parser)
    for word, text in list_words(parser, option, current.startswith("-")):
        if word.startswith(current):
            yield word, text


def list_words(
    parser: argparse.ArgumentParser, option: argparse.Action | None, is_option: bool
) -> Iterator[tuple[str, str]]:
    """The values of ``option``, else the parser's options, or its commands and arguments."""
    if option is not None:
        yield from ((str(choice), "") for choice in option.choices or ())
        return
    formatter = parser._get_formatter()
    for action in parser._actions:
        text = formatter._expand_help(action) if action.help else ""
        if action.help == argparse.SUPPRESS or bool(action.option_strings) != is_option:
            continue
        if is_option:
            yield from ((word, text) for word in action.option_strings)
        elif isinstance(action, argparse._SubParsersAction):
            yield from ((each.dest, each.help or "") for each in action._choices_actions)
        else:
            yield from ((str(choice), text) for choice in action.choices or ())


def find_commands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}
