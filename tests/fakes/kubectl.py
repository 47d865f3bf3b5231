"""``kubectl`` without a cluster: ``python -S tests/fakes/kubectl.py STATE_FOLDER ARGS…``.

Objects are kept as files, and controllers, scheduler and kubelets take one step at each look:
see :mod:`tests.fakes.kubernetes`. Tests speak to it by :mod:`tests.fakes.cluster_state`.
"""

from __future__ import annotations

import sys

sys.path[0] = __file__.removesuffix("tests/fakes/kubectl.py")

from tests.fakes.kubernetes.program import main  # noqa: E402 - found only by the line above

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
