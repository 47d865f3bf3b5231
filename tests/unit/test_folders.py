from __future__ import annotations

from pathlib import Path

from nvoi.folders import remove_tree


def test_a_tree_is_removed_without_what_its_links_point_at(tmp_path: Path) -> None:
    kept = tmp_path / "kept/file"
    kept.parent.mkdir()
    kept.touch()
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(kept.parent)
    (tmp_path / "tree/deep").chmod(0o500)
    (tmp_path / "shown").symlink_to(kept.parent)
    for name in ("tree", "tree", "shown"):
        remove_tree(tmp_path / name)
    assert [*tmp_path.rglob("*")] == [kept.parent, kept]
