"""What a secret's name heads in CSV, JSON, programs' literals and charts' tables does not leave."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import nbformat
import pandas as pd
import plotly.graph_objects as go
import pytest

from teknav_ops.reports.masking import mask_output, masked_value

SECRET = "correct horse"
FRAME = pd.DataFrame({"user": ["olga", "omid"], "password": [SECRET, f"{SECRET}, two\nlines"], "runs": [5, 6]})


def printed(text: str) -> str:
    output = nbformat.v4.new_output("stream", text=text)
    mask_output(output)
    return str(output.text)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_columns_of_csv(delimiter: str, quoting: int) -> None:
    text = f"Users:\n{FRAME.to_csv(sep=delimiter, quoting=quoting, index=False)}\nolga, omid\n"

    masked = printed(text)

    rows = list(csv.reader(io.StringIO(masked), delimiter=delimiter))
    assert [row[:2] for row in rows[2:4]] == [["olga", "••••"], ["omid", "••••"]] and len(rows[2]) == 3
    assert masked.startswith("Users:\n") and masked.endswith("\nolga, omid\n")
    assert masked_value("text/csv", text) == masked


@pytest.mark.parametrize("orient", ["split", "records", "index", "columns", "table"])
def test_columns_of_json(orient: Any) -> None:
    text = FRAME.to_json(orient=orient)

    found = masked_value("application/json", json.loads(text))

    assert SECRET not in json.dumps(found) and json.dumps(found).count("olga") == 1
    assert json.loads(printed(text)) == json.loads(masked_value("text/plain", text)) == found
    assert printed(f"read:\n{text}\n") == f"read:\n{json.dumps(found, ensure_ascii=False)}\n"


@pytest.mark.parametrize("orient", ["split", "list", "dict", "records", "tight"])
def test_columns_of_a_program_s_literals(orient: Any) -> None:
    masked = masked_value("text/plain", repr(FRAME.to_dict(orient)))

    assert SECRET not in masked and "olga" in masked


def test_a_number_below_a_secret_s_name() -> None:
    assert masked_value("application/json", {"api_key": 12345678, "runs": 3}) == {"api_key": "••••", "runs": 3}


def test_columns_of_a_chart_s_table() -> None:
    head, cells = {"values": ["<b>user</b>", "<b>password</b>"]}, {"values": [["olga"], [SECRET]]}
    figure = json.loads(go.Figure(go.Table(header=head, cells=cells)).to_json())

    trace = masked_value("application/vnd.plotly.v1+json", figure)["data"][0]

    assert trace["cells"]["values"] == [["olga"], ["••••"]] and trace["header"] == head


def test_a_column_that_stands_alone_and_an_index() -> None:
    for text in (str(FRAME["password"].head(1)), str(FRAME.head(1).set_index("password"))):
        assert SECRET not in printed(text) and "password" in printed(text)


@pytest.mark.parametrize(
    "text",
    [
        "queue,input_tokens\na,b\n",
        "wrong name, password, or both of them\nsaid a, b, c\n",
        '{"runs": [1, 2]}',
        "[1, 2",
        "(a, b)",
        'a "quotation, of\none line\n',
        "{'runs': 1}",
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_other_texts_stay(text: str) -> None:
    is_same = printed(text) == text

    assert is_same
