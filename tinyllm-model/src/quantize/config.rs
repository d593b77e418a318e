//! The config.json of a quantised model: the original's with dtype and `quantization_config`.

use std::path::Path;

use serde_json::{Value, json};
use tinyllm_kernels::GroupSize;

use crate::{ModelError, Result};

pub(super) fn write(mut config: Value, directory: &Path, group_size: GroupSize, tied: bool) -> Result<()> {
    let path = directory.join("config.json");
    let (strategy, group_size) = match group_size {
        GroupSize::Channel => ("channel", Value::Null),
        GroupSize::Elements(elements) => ("group", json!(elements)),
    };
    // With "Linear" alone, vLLM leaves an untied head unquantised.
    let targets = if tied { json!(["Linear"]) } else { json!(["re:.*lm_head$", "Linear"]) };
    if let Some(config) = config.as_object_mut() {
        config.shift_remove("dtype");
        config.insert("torch_dtype".into(), json!("float16"));
        config.insert(
            "quantization_config".into(),
            json!({
                "quant_method": "compressed-tensors", "format": "pack-quantized",
                "quantization_status": "compressed", "global_compression_ratio": null, "kv_cache_scheme": null,
                "ignore": if tied { json!(["lm_head"]) } else { json!([]) },
                "config_groups": {"group_0": {
                    "targets": targets,
                    "weights": {
                        "num_bits": 8, "type": "int", "symmetric": true, "strategy": strategy,
                        "group_size": group_size, "dynamic": false, "actorder": null, "block_structure": null,
                        "observer": "minmax", "observer_kwargs": {}
                    },
                    "input_activations": null, "output_activations": null, "format": "pack-quantized"
                }},
                "sparsity_config": {}, "transform_config": {}, "version": "0.20.0"
            }),
        );
    }
    let mut text = serde_json::to_vec_pretty(&config)
        .map_err(|error| ModelError::malformed(&path, "JSON", error.to_string()))?;
    text.push(b'\n');
    std::fs::write(&path, text).map_err(|error| ModelError::io(&path, error))
}
