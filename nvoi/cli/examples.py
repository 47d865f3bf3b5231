"""What stands below the options in a command's help: examples first."""

from __future__ import annotations

EXAMPLES = {
    "nvoi": """\
examples:
  nvoi demo                        see how it works
  nvoi onboard                     make deploy.enc and its key for the app in this folder
  nvoi deploy                      deploy it
  nvoi delete                      take it down
""",
    "demo": """\
examples:
  nvoi demo                 watch it in a browser; Ctrl-C ends it
  nvoi demo --port 9000     the dashboard at a port of your choice
  nvoi demo --no-wait       as fast as it can, and end by itself, as in CI

All of it is in a temporary folder, and gone at the end. It needs nvoi's extra `demo`.

exit codes: 0 all went as it should, 1 something did not, 2 bad usage; where it did not come
to its end, 129 SIGHUP, 130 Ctrl-C, 131 SIGQUIT, 143 SIGTERM
""",
    "onboard": """\
examples:
  nvoi onboard               ask about the app in this folder, and make deploy.enc
  nvoi onboard -d ../app     another checkout
  nvoi onboard --from compose.yaml --host root@server.example.com

It asks at a terminal, and writes nothing before you save. Esc goes back one question; Ctrl-C
leaves nothing behind. A deploy.enc that is there is offered for editing. Without a terminal it
writes what the checkout, or the file of --from, says of the app, or names what is missing.

exit codes: 0 saved or left as it was, 1 cancelled, 2 bad usage or config,
129 SIGHUP, 130 Ctrl-C, 131 SIGQUIT, 143 SIGTERM
""",
    "deploy": """\
examples:
  nvoi deploy                            deploy.enc, opened by deploy.key or $DEPLOY_KEY
  nvoi deploy --dry-run                  what would change
  nvoi deploy -c deploy.yml -d ../app    a plain config, another checkout
  nvoi deploy --branch feature-x         a deploy of its own, beside production's
  nvoi deploy --adopt                    take over what the Ruby gem nvoi 0.2 has made

exit codes: 0 done, 1 the deploy failed, 2 bad usage or config; 129 SIGHUP, 130 Ctrl-C,
131 SIGQUIT, 143 SIGTERM
""",
    "delete": """\
examples:
  nvoi delete                       lists what goes, and asks; without a terminal it refuses
  nvoi delete --yes                 does not ask, as in CI
  nvoi delete --dry-run             what would be removed
  nvoi delete --delete-volumes      the data too, which is kept otherwise
  nvoi delete --cluster             k3s on the servers too
""",
    "rollback": """\
examples:
  nvoi releases                     what there is to go back to
  nvoi rollback                     the release before the one that runs
  nvoi rollback 20261123160322      that one
""",
    "releases": """\
examples:
  nvoi releases                     the newest first; * runs
  nvoi releases --log-format json   for programs: a JSON object a line
  nvoi rollback 20261123160322      go back to one
""",
    "unlock": """\
examples:
  nvoi unlock           show which run holds the lock, and end it

A run that was killed frees its lock by itself within a minute. One that still works finds its
lock gone before it changes anything more, and fails.
""",
    "resend": """\
examples:
  nvoi resend ~/.local/state/nvoi/undelivered.d/1234-20260115103000-x7f2.jsonl

Where there is a config, the file must be for its callback_url.

exit codes: 0 all is delivered and the file removed, 1 something is still to be sent,
2 bad usage, config or file
""",
    "init": """\
examples:
  nvoi config init --name shop
  nvoi config init --name shop --provider hetzner -d ~/src/shop
""",
    "credentials": """\
examples:
  nvoi credentials show
  nvoi credentials edit
  nvoi credentials get application.app.web.port
  nvoi credentials set application.app.web.port 3000
  printf %s "$TOKEN" | nvoi credentials set application.secrets.API_TOKEN -
  nvoi credentials rotate-key

A path is keys joined by dots. An argument can be seen by other users of this machine while
the command runs: give secrets through `-`.
""",
    "dashboard": """\
examples:
  nvoi dashboard                                  in an app's checkout: it finds the app's key
  nvoi dashboard --key-file ~/shop/deploy.key --port 9000
  nvoi dashboard --host 0.0.0.0 --password-file password --public-url https://deploys.example.com
  nvoi dashboard project add shop -d ~/src/shop   one more app, with a key and a URL of its own

Ctrl-C, SIGTERM, SIGHUP and SIGQUIT end it, with exit code 0: that is how a server ends.

exit codes: 0 it was ended, 1 it failed, 2 bad usage: an address that is taken, no key, …
""",
    "project": """\
examples:
  nvoi dashboard project add shop -d ~/src/shop      with the key of that checkout
  nvoi dashboard project list
  nvoi dashboard project rotate-key shop --key-file new.key --grace 48
  nvoi dashboard project rm shop

They work while the dashboard runs, and it sees what they change at once.
""",
    "completion": """\
examples:
  nvoi completion bash > ~/.local/share/bash-completion/completions/nvoi
  nvoi completion zsh > ~/.zfunc/_nvoi
  nvoi completion fish > ~/.config/fish/completions/nvoi.fish
  nvoi completion powershell | Out-String | Invoke-Expression
""",
}
