from __future__ import annotations

import pytest

from nvoi.log import masking


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "masker", masking.Masker())
