"""A run, or several beside each other, as one HTML file."""

from vmc.run_report.comparison import comparison_path, write_comparison
from vmc.run_report.single import report_path, write_report

__all__ = ["comparison_path", "report_path", "write_comparison", "write_report"]
