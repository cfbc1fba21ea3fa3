from pathlib import Path

from readme_tables import filled


def test_the_tables_are_those_of_the_results() -> None:
    """`python benchmarks/readme_tables.py` fills them."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert filled(readme) == readme
