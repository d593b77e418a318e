//! `quantization_config` of config.json in a typed form; what is not W8A16 is refused by name.

use serde_json::Value;

use super::target::{LayerClass, MAX_PATTERNS, Pattern};
use crate::{
    Result,
    config::fields::{Fields, is_empty},
};

/// What refusals offer instead.
const SUPPORTED: &str = "supported: compressed-tensors pack-quantized or int-quantized, 8-bit symmetric integer weights \
                         per group or channel, 16-bit activations; otherwise take the model without quantisation";

/// Which layers a file holds as int8, and how.
#[derive(Clone, Debug)]
pub(crate) struct QuantizationConfig {
    groups: Vec<Group>,
    ignore: Vec<Pattern>,
}

/// How the layers of one `config_groups` entry are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupScheme {
    /// The bytes' layout.
    pub(crate) format: PackFormat,
    /// Weights a scale covers; `None` is per channel.
    pub(crate) group_size: Option<usize>,
}

/// The layout of int8 weights in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackFormat {
    /// `pack-quantized`: `weight_packed`, int32 of four offset-binary bytes.
    Packed,
    /// `int-quantized`: `weight`, int8.
    Int8,
}

#[derive(Clone, Debug)]
struct Group {
    targets: Vec<Pattern>,
    scheme: GroupScheme,
}

impl QuantizationConfig {
    /// Reads `quantization_config` (or `compression_config`, its older name) of a config.json's top level.
    ///
    /// # Errors
    /// `Unsupported` naming the key that asks for something other than W8A16, `Malformed` where a key is not readable.
    pub(crate) fn from_config_json(config_json: &Fields<'_>) -> Result<Option<Self>> {
        let config = match config_json.object("quantization_config")? {
            Some(config) => config,
            None => match config_json.object("compression_config")? {
                Some(config) => config,
                None => return Ok(None),
            },
        };
        match config.string("quant_method")? {
            Some("compressed-tensors") => {}
            None if config.get("config_groups").is_some() => {}
            Some(other) => return Err(config.unsupported("quant_method", other, SUPPORTED)),
            None => return Err(config.malformed("quant_method", format!("missing; {SUPPORTED}"))),
        }
        for (key, what) in [
            ("kv_cache_scheme", "a quantised KV cache"),
            ("sparsity_config", "sparsity"),
            ("moe_sparsity_config", "sparsity"),
            ("transform_config", "a transform of the weights"),
        ] {
            refuse_unless_empty(&config, key, what)?;
        }
        match config.string("quantization_status")? {
            None | Some("compressed" | "frozen") => {}
            Some(other) => {
                return Err(config.unsupported(
                    "quantization_status",
                    other,
                    "supported: compressed, frozen",
                ));
            }
        }
        let outer_format = config.string("format")?;
        let groups_object =
            config.object("config_groups")?.ok_or_else(|| config.malformed("config_groups", "missing"))?;
        let mut groups = Vec::new();
        for (name, value) in groups_object.entries() {
            groups.push(match value {
                Value::Array(_) => preset_group(&groups_object, name, outer_format)?,
                _ => {
                    let group = groups_object
                        .object(name)?
                        .ok_or_else(|| groups_object.malformed(name, "is null"))?;
                    Group::from_fields(&group, outer_format)?
                }
            });
        }
        if groups.is_empty() {
            return Err(config.malformed("config_groups", "names no group of layers"));
        }
        if groups.iter().map(|group| group.targets.len()).sum::<usize>() > MAX_PATTERNS {
            return Err(config.malformed("config_groups", format!("names more than {MAX_PATTERNS} targets")));
        }
        let ignore = Pattern::list(&config, "ignore")?;
        Ok(Some(QuantizationConfig { groups, ignore }))
    }

    /// How a layer is stored; `None` where it is not quantised. `module` is the layer's name, without `.weight`.
    ///
    /// Where several groups claim a layer, a name beats a pattern and a pattern beats a class, as in compressed-tensors.
    pub(crate) fn scheme_of(&self, module: &str, class: LayerClass) -> Option<GroupScheme> {
        if self.ignore.iter().any(|pattern| pattern.matches(module, class)) {
            return None;
        }
        let claims = self.groups.iter().flat_map(|group| {
            let matching = group.targets.iter().filter(|target| target.matches(module, class));
            matching.map(|target| (target, group.scheme))
        });
        // Of equal targets the last group's stands, as in the dictionary that compressed-tensors makes of them.
        let mut best: Option<(&Pattern, GroupScheme)> = None;
        for (target, scheme) in claims {
            if best.is_none_or(|(champion, _)| target.precedence(module) <= champion.precedence(module)) {
                best = Some((target, scheme));
            }
        }
        best.map(|(_, scheme)| scheme)
    }

    /// The group size of the first group, for display; `None` is per channel.
    pub(crate) fn first_group_size(&self) -> Option<usize> {
        self.groups.first().and_then(|group| group.scheme.group_size)
    }
}

impl Group {
    fn from_fields(group: &Fields<'_>, outer_format: Option<&str>) -> Result<Self> {
        for (key, what) in
            [("input_activations", "quantised activations"), ("output_activations", "quantised activations")]
        {
            refuse_unless_empty(group, key, what)?;
        }
        let format = format_of(group, group.string("format")?.or(outer_format))?;
        let weights = group
            .object("weights")?
            .ok_or_else(|| group.unsupported("weights", "a group without quantised weights", SUPPORTED))?;
        let targets = Pattern::list(group, "targets")?;
        if targets.is_empty() {
            return Err(group.malformed("targets", "names no layers"));
        }
        Ok(Group { targets, scheme: GroupScheme { format, group_size: group_size(&weights)? } })
    }
}

/// A group written as a preset's name with its targets: `"W8A16": ["Linear"]` is per channel.
fn preset_group(groups: &Fields<'_>, name: &str, outer_format: Option<&str>) -> Result<Group> {
    if name != "W8A16" {
        return Err(groups.unsupported(name, format!("the preset {name}"), SUPPORTED));
    }
    let format = format_of(groups, outer_format)?;
    Ok(Group { targets: Pattern::list(groups, name)?, scheme: GroupScheme { format, group_size: None } })
}

fn format_of(group: &Fields<'_>, format: Option<&str>) -> Result<PackFormat> {
    match format {
        Some("pack-quantized") => Ok(PackFormat::Packed),
        Some("int-quantized") => Ok(PackFormat::Int8),
        Some(other) => Err(group.unsupported("format", other, SUPPORTED)),
        None => {
            Err(group.malformed("format", format!("missing here and in quantization_config; {SUPPORTED}")))
        }
    }
}

/// Checks that `weights` says int8, symmetric, static, in the order of the columns, and finds its group size.
fn group_size(weights: &Fields<'_>) -> Result<Option<usize>> {
    let refuse = |key, what: String| Err(weights.unsupported(key, what, SUPPORTED));
    match weights.size("num_bits")? {
        None | Some(8) => {}
        Some(bits) => return refuse("num_bits", format!("{bits}-bit weights")),
    }
    match weights.string("type")? {
        Some(kind) if !kind.eq_ignore_ascii_case("int") => {
            return refuse("type", format!("the weight type {kind}"));
        }
        _ => {}
    }
    if weights.boolean("symmetric")? == Some(false) {
        return refuse("symmetric", "asymmetric quantisation (zero points)".to_owned());
    }
    match weights.get("dynamic") {
        None | Some(Value::Bool(false)) => {}
        Some(_) => return refuse("dynamic", "dynamic quantisation of weights".to_owned()),
    }
    match weights.get("actorder") {
        None | Some(Value::Bool(false)) => {}
        Some(Value::String(order)) if ["weight", "static"].iter().any(|o| order.eq_ignore_ascii_case(o)) => {}
        Some(order) => return refuse("actorder", format!("the activation order {order}")),
    }
    if !weights.get("block_structure").is_none_or(is_empty) {
        return refuse("block_structure", "quantisation by blocks".to_owned());
    }
    // −1 is how older files write "per channel".
    let group_size = match weights.get("group_size") {
        Some(value) if value.as_i64() == Some(-1) => GroupSizeKey::Channel,
        Some(_) => weights.size("group_size")?.map_or(GroupSizeKey::Absent, GroupSizeKey::Elements),
        None => GroupSizeKey::Absent,
    };
    let strategy = weights.string("strategy")?.map(str::to_ascii_lowercase);
    match (strategy.as_deref(), group_size) {
        (_, GroupSizeKey::Elements(0)) => Err(weights.malformed("group_size", "must be positive, is 0")),
        (Some("group") | None, GroupSizeKey::Elements(elements)) => Ok(Some(elements)),
        (Some("channel"), GroupSizeKey::Absent | GroupSizeKey::Channel) | (None, GroupSizeKey::Channel) => {
            Ok(None)
        }
        (Some("channel"), GroupSizeKey::Elements(elements)) => Err(weights
            .malformed("group_size", format!("must be absent where strategy is channel, is {elements}"))),
        (Some("group"), _) => {
            Err(weights.malformed("group_size", "must be positive where strategy is group"))
        }
        (Some(other), _) => refuse("strategy", format!("the strategy {other}")),
        (None, GroupSizeKey::Absent) => refuse("strategy", "one scale for a whole tensor".to_owned()),
    }
}

/// The three things a `group_size` can say.
#[derive(Clone, Copy)]
enum GroupSizeKey {
    Absent,
    Channel,
    Elements(usize),
}

fn refuse_unless_empty(fields: &Fields<'_>, key: &str, what: &str) -> Result<()> {
    match fields.get(key) {
        Some(value) if !is_empty(value) => Err(fields.unsupported(key, what, SUPPORTED)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    const DOWN: &str = "model.layers.0.mlp.down_proj";

    fn read(key: &str, config: Value) -> Result<Option<QuantizationConfig>> {
        QuantizationConfig::from_config_json(&Fields::top(&json!({ key: config }), Path::new("config.json"))?)
    }

    /// A configuration of one group with these `weights`.
    fn with_weights(weights: Value) -> Value {
        json!({ "quant_method": "compressed-tensors", "format": "int-quantized",
                "config_groups": { "group_0": { "targets": ["Linear"], "weights": weights } } })
    }

    fn scheme(config: Value) -> Option<GroupScheme> {
        read("quantization_config", config).unwrap().unwrap().scheme_of(DOWN, LayerClass::Linear)
    }

    fn message(config: Value) -> String {
        read("quantization_config", config).unwrap_err().to_string()
    }

    #[test]
    fn every_spelling_of_group_and_channel() {
        for (weights, group_size) in [
            (json!({ "strategy": "group", "group_size": 128, "num_bits": 8 }), Some(128)),
            (json!({ "group_size": 32, "observer": "some_new_one" }), Some(32)),
            (json!({ "group_size": -1 }), None),
            (json!({ "strategy": "channel", "group_size": -1, "actorder": "weight" }), None),
            (json!({ "strategy": "channel", "actorder": false }), None),
            (json!({ "strategy": "CHANNEL", "actorder": "static", "dynamic": false }), None),
        ] {
            let expected = GroupScheme { format: PackFormat::Int8, group_size };
            assert_eq!(scheme(with_weights(weights.clone())), Some(expected), "{weights}");
        }
    }

    #[test]
    fn what_is_not_w8a16_is_named() {
        for (weights, field) in [
            (json!({ "strategy": "channel", "actorder": true }), "actorder"),
            (json!({ "strategy": "channel", "actorder": "dynamic" }), "actorder"),
            (json!({ "strategy": "block", "block_structure": [128, 128] }), "block_structure"),
            (json!({ "strategy": "tensor_group", "group_size": 16 }), "strategy"),
            (json!({ "strategy": "tensor" }), "strategy"),
            (json!({}), "strategy"),
            (json!({ "strategy": "group" }), "group_size"),
            (json!({ "group_size": 0 }), "group_size"),
            (json!({ "strategy": "channel", "group_size": 64 }), "group_size"),
            (json!({ "strategy": "channel", "type": "float" }), "type"),
            (json!({ "strategy": "channel", "dynamic": "local" }), "dynamic"),
        ] {
            let found = message(with_weights(weights.clone()));
            let name = format!("quantization_config.config_groups.group_0.weights.{field}: ");
            assert!(found.contains(&name), "{weights}: {found}");
        }
        for format in ["dense", "mixed-precision", "naive-quantized", "nvfp4-pack-quantized"] {
            let mut config = with_weights(json!({ "group_size": 32 }));
            config["format"] = json!(format);
            assert!(message(config).contains(format));
        }
    }

    #[test]
    fn a_group_s_format_wins_and_empty_schemes_say_nothing() {
        let mut config = with_weights(json!({ "group_size": 32 }));
        config["format"] = json!("mixed-precision");
        config["config_groups"]["group_0"]["format"] = json!("pack-quantized");
        config["sparsity_config"] = json!(null);
        config["transform_config"] = json!({ "config_groups": {} });
        config["version"] = json!("99.0");
        let expected = GroupScheme { format: PackFormat::Packed, group_size: Some(32) };
        assert_eq!(scheme(config.clone()), Some(expected));
        let older = read("compression_config", config).unwrap().unwrap();
        assert_eq!(older.scheme_of(DOWN, LayerClass::Linear), Some(expected));
        assert!(read("quantization_config", Value::Null).unwrap().is_none());
    }

    #[test]
    fn a_name_beats_a_pattern_and_a_pattern_beats_a_class() {
        let group =
            |target: &str, size: usize| json!({ "targets": [target], "weights": { "group_size": size } });
        let config = json!({ "quant_method": "compressed-tensors", "format": "pack-quantized",
            "ignore": ["re:.*\\.3\\."], "config_groups": {
                "a": group(DOWN, 32), "b": group("re:.*down_proj", 64), "c": group("Linear", 128) } });
        let config = read("quantization_config", config).unwrap().unwrap();
        let size = |layer: &str| {
            config.scheme_of(layer, LayerClass::Linear).map(|scheme| scheme.group_size.unwrap())
        };
        assert_eq!(size(DOWN), Some(32));
        assert_eq!(size("model.layers.1.mlp.down_proj"), Some(64));
        assert_eq!(size("lm_head"), Some(128));
        assert_eq!(size("model.layers.3.mlp.down_proj"), None);
        assert_eq!(config.scheme_of("model.embed_tokens", LayerClass::Embedding), None);
    }

    #[test]
    fn the_preset_is_per_channel() {
        let config = json!({ "quant_method": "compressed-tensors", "format": "pack-quantized",
                             "config_groups": { "W8A16": ["Linear"] } });
        assert_eq!(scheme(config).unwrap().group_size, None);
        let other = json!({ "quant_method": "compressed-tensors", "format": "pack-quantized",
                            "config_groups": { "W4A16": ["Linear"] } });
        assert!(message(other).contains("W4A16"));
    }
}
