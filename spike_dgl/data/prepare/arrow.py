"""Import of pyarrow, which only the preparation of raw files needs."""

from __future__ import annotations

from spike_dgl.errors import SpikeError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as arrow_csv
    import pyarrow.json as arrow_json
    import pyarrow.parquet as parquet
except ModuleNotFoundError:
    raise SpikeError(
        "preparing raw data needs the package pyarrow, which is not installed\n"
        '  Install it: pip install -e ".[prepare]"'
    ) from None

__all__ = ["arrow_csv", "arrow_json", "pa", "parquet", "pc"]
