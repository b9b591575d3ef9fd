"""Write the JSON schemas of the files that people and other programs read or write.

``--check`` writes nothing and exits with 1 where a committed schema differs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from edgecnn.core.device import DeviceProfile
from edgecnn.core.estimate import Estimate
from edgecnn.core.layer_costs import LayerCosts
from edgecnn.core.recipe import Recipe
from edgecnn.deploy.manifest import BundleManifest
from edgecnn.profiling.compare import Comparison
from edgecnn.profiling.records import Profile
from edgecnn.runtime.events import Event
from edgecnn.runtime.report import RunReport

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS: dict[str, type[BaseModel]] = {
    "recipes/recipe.schema.json": Recipe,
    "devices/device.schema.json": DeviceProfile,
    "docs/schemas/bundle.schema.json": BundleManifest,
    "docs/schemas/profile.schema.json": Profile,
    "docs/schemas/estimate.schema.json": Estimate,
    "docs/schemas/compare.schema.json": Comparison,
    "docs/schemas/costs.schema.json": LayerCosts,
    "docs/schemas/event.schema.json": Event,
    "docs/schemas/run.schema.json": RunReport,
}


def schema_text(model: type[BaseModel]) -> str:
    """A model's JSON schema as it is committed."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def main() -> int:
    """Write, or compare."""
    differing = [
        name
        for name, model in SCHEMAS.items()
        if not (ROOT / name).is_file() or (ROOT / name).read_text(encoding="utf-8") != schema_text(model)
    ]
    if "--check" in sys.argv:
        for name in differing:
            print(f"{name} is not what the code says: run make schemas")
        return 1 if differing else 0
    for name in differing:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(schema_text(SCHEMAS[name]), encoding="utf-8")
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
