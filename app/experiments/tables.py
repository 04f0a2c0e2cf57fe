"""Tables of an experiment: means, paired tests, and their Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

__all__ = ["MEASURES", "compare", "markdown", "spread_texts", "summarise", "table1"]

# column of the registrations: heading, digits
MEASURES = {
    "dice": ("Dice", 3),
    "hd95": ("HD95 larger, mm", 2),
    "hd95_pooled": ("HD95 pooled, mm", 2),
    "mad": ("MAD, mm", 2),
    "folded_percent": ("folded pixels, %", 4),
}
TESTED = ("dice", "hd95", "mad")
LOWER_IS_BETTER = ("hd95", "mad")


def summarise(registrations: pd.DataFrame, measures: Mapping[str, tuple[str, int]] = MEASURES) -> pd.DataFrame:
    """Mean and standard deviation (of the population) of each measure, and the median time, a row a method.

    Args:
        registrations: a row a registration and method: ``method``, ``missing``, ``milliseconds`` and the columns of
            ``measures``, nan where a registration has none; those with a missing structure are left out.
        measures: heading and digits of each, by its column.
    """
    rows = []
    for name, group in registrations[~registrations["missing"]].groupby("method", sort=False):
        row = {"method": name, "registrations": len(group), "lost": int(group["lost"].sum())}
        for measure in measures:
            row[f"{measure}_mean"], row[f"{measure}_sd"] = group[measure].mean(), group[measure].std(ddof=0)
        row["milliseconds_median"] = group["milliseconds"].median()
        row["milliseconds_sd"] = group["milliseconds"].std(ddof=0)
        rows.append(row)
    return pd.DataFrame(rows).set_index("method")


def compare(
    registrations: pd.DataFrame,
    references: Sequence[str],
    keys: Sequence[str] = ("slice", "direction"),
    tested: Sequence[str] = TESTED,
) -> pd.DataFrame:
    """Each method against each reference by Wilcoxon's signed-rank test, two-sided, on what both have scored.

    Two tests a measure: over the registrations, as the paper has it, although those of one patient are not
    independent; and over the patients' means.

    Args:
        registrations: as of :func:`summarise`.
        references: methods that the others are compared with.
        keys: columns that, with ``patient``, say which registrations of two methods belong together.
        tested: columns that are compared.

    Returns:
        ``method``, ``reference``, ``measure``, ``registrations``, ``difference`` (mean of method - reference),
        ``better`` (share of the registrations in which the method is better, in %), ``p`` and ``p_patients``; p is nan
        where nothing differs.
    """
    scored = registrations[~registrations["missing"]]
    pairs = ["patient", *keys]
    wide = scored.pivot(index=pairs, columns="method", values=list(tested))
    rows: list[dict[str, object]] = []
    for reference in references:
        for method in scored["method"].unique():
            if method == reference:
                continue
            for measure in tested:
                difference = (wide[measure][method] - wide[measure][reference]).dropna()
                better = difference < 0 if measure in LOWER_IS_BETTER else difference > 0
                rows.append(
                    {
                        "method": method,
                        "reference": reference,
                        "measure": measure,
                        "registrations": len(difference),
                        "difference": difference.mean(),
                        "better": 100 * better.mean(),
                        "p": _p(difference),
                        "p_patients": _p(difference.groupby("patient").mean()),
                    }
                )
    return pd.DataFrame(rows)


def _p(difference: pd.Series) -> float:
    return float(wilcoxon(difference).pvalue) if (difference != 0).any() else float("nan")


def table1(
    summary: pd.DataFrame, titles: Mapping[str, str], measures: Mapping[str, tuple[str, int]] = MEASURES
) -> pd.DataFrame:
    """:func:`summarise`'s means as texts to read, under headings; the time also beside elastix's, where that is."""
    table = pd.DataFrame(index=pd.Index([titles[name] for name in summary.index], name="registration"))
    for measure, (heading, digits) in measures.items():
        table[heading] = spread_texts(summary[f"{measure}_mean"], summary[f"{measure}_sd"], digits)
    if summary["lost"].any():
        table["lost by the warp"] = summary["lost"].astype(str).tolist()
    times = summary["milliseconds_median"]
    table["time, ms"] = ["" if time == 0 else f"{time:.1f}" for time in times]
    for name in ("elastix", "elastix_tuned"):
        if name in summary.index:
            ratios = times[name] / times.replace(0, np.nan)
            table[f"times faster than {titles[name]}"] = ["" if np.isnan(ratio) else f"{ratio:.3g}" for ratio in ratios]
    return table


def tests_table(comparison: pd.DataFrame, reference: str, titles: Mapping[str, str]) -> pd.DataFrame:
    """The comparison with one reference to read: a row a method, difference and p of each measure."""
    rows = {}
    for method, group in comparison[comparison["reference"] == reference].groupby("method", sort=False):
        cells = {"registrations": str(group["registrations"].max())}
        for _, test in group.iterrows():
            heading, digits = MEASURES[test["measure"]]
            cells[f"{heading}: difference"] = f"{test['difference']:+.{digits}f}"
            cells["p, registrations" + _mark(test["measure"])] = p_text(test["p"])
            cells["p, patients" + _mark(test["measure"])] = p_text(test["p_patients"])
        rows[titles[method]] = cells
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"against {titles[reference]}")


def _mark(measure: str) -> str:
    """Headings of a table are unique."""
    return f" ({MEASURES[measure][0].split(' ')[0].rstrip(',')})"


def spread_texts(means: Iterable[float], deviations: Iterable[float], digits: int) -> list[str]:
    """Means ± standard deviations to read."""
    return [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in zip(means, deviations, strict=True)]


def p_text(p: float) -> str:
    return "no difference" if np.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}"


def markdown(table: pd.DataFrame) -> str:
    """A table of texts with its index, as Markdown."""
    headings = [table.index.name or "", *table.columns]
    lines = [headings, ["---", *["---:"] * len(table.columns)]]
    lines += [[name, *cells] for name, cells in zip(table.index, table.to_numpy().tolist(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
