//! RoPE in config.json: `rope_theta` with `rope_scaling` (transformers 4) or `rope_parameters` (5).

use crate::{
    Result,
    config::{Fields, RopeConfig, RopeScaling},
};

/// The list that refusals print.
const SUPPORTED: &str = "supported: default, linear, llama3, yarn, dynamic (within the original context)";

impl RopeConfig {
    /// Reads the keys of a config.json's top level.
    pub(super) fn from_fields(fields: &Fields<'_>, max_position_embeddings: usize) -> Result<Self> {
        // Both versions of transformers prefer a rope_scaling that says something.
        let scaling = match fields.object("rope_scaling")? {
            Some(scaling) if scaling.entries().next().is_some() => Some(scaling),
            _ => fields.object("rope_parameters")?,
        };
        let outer_theta = fields.float("rope_theta")?;
        let inner_theta = scaling.as_ref().map(|scaling| scaling.float("rope_theta")).transpose()?.flatten();
        Ok(RopeConfig {
            theta: inner_theta.or(outer_theta).unwrap_or(10_000.0),
            scaling: match &scaling {
                Some(scaling) => rope_scaling(scaling, max_position_embeddings)?,
                None => RopeScaling::Default,
            },
        })
    }
}

fn rope_scaling(scaling: &Fields<'_>, max_position_embeddings: usize) -> Result<RopeScaling> {
    if let Some((layer_type, _)) = scaling.entries().find(|(_, value)| value.is_object()) {
        return Err(scaling.unsupported(layer_type, "rotary scaling by layer type", SUPPORTED));
    }
    if let Some(part) = scaling.float("partial_rotary_factor")?
        && part != 1.0
    {
        return Err(scaling.unsupported("partial_rotary_factor", part.to_string(), "supported: 1.0"));
    }
    let required =
        |key| scaling.float(key)?.ok_or_else(|| scaling.malformed(key, "missing; it has no default"));
    let original_context = || scaling.size("original_max_position_embeddings");
    Ok(match rope_type(scaling)? {
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear { factor: required("factor")? },
        // Transformers 4 is plain up to max_position_embeddings, 5 up to the original context where that is given.
        "dynamic" => RopeScaling::Dynamic {
            factor: required("factor")?,
            original_max_position_embeddings: original_context()?
                .unwrap_or(max_position_embeddings)
                .min(max_position_embeddings),
        },
        "llama3" => RopeScaling::Llama3 {
            factor: required("factor")?,
            low_freq_factor: required("low_freq_factor")?,
            high_freq_factor: required("high_freq_factor")?,
            original_max_position_embeddings: match original_context()? {
                Some(tokens) => tokens,
                None => scaling.required_size("original_max_position_embeddings")?,
            },
        },
        "yarn" => yarn(scaling, max_position_embeddings)?,
        other => return Err(scaling.unsupported("rope_type", other, SUPPORTED)),
    })
}

/// `rope_type`, or `type` as older files say.
fn rope_type<'a>(scaling: &Fields<'a>) -> Result<&'a str> {
    match (scaling.string("rope_type")?, scaling.string("type")?) {
        (Some(new), Some(old)) if new != old => {
            Err(scaling.malformed("rope_type", format!("must be equal to type, {old:?}; is {new:?}")))
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        // Without a type a factor, or what an unknown method asks for, would be ignored in silence.
        (None, None) => {
            match scaling.entries().find(|(key, value)| !is_of_plain_rope(key) && !value.is_null()) {
                Some((key, _)) => {
                    Err(scaling.malformed("rope_type", format!("missing, and {key} needs it; {SUPPORTED}")))
                }
                None => Ok("default"),
            }
        }
    }
}

/// Keys that unscaled RoPE may have.
fn is_of_plain_rope(key: &str) -> bool {
    matches!(key, "rope_theta" | "partial_rotary_factor" | "original_max_position_embeddings")
}

/// YaRN (Peng et al. 2023), with `attention_factor` resolved as transformers does it.
fn yarn(scaling: &Fields<'_>, max_position_embeddings: usize) -> Result<RopeScaling> {
    let not_zero = |key| Ok::<_, crate::ModelError>(scaling.float(key)?.filter(|&value| value != 0.0));
    let original = scaling
        .size("original_max_position_embeddings")?
        .filter(|&tokens| tokens != 0)
        .unwrap_or(max_position_embeddings);
    let factor = scaling.float("factor")?.unwrap_or(max_position_embeddings as f64 / original as f64);
    let magnitude = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * libm::log(factor) + 1.0 };
    let attention_factor = match scaling.float("attention_factor")? {
        Some(attention_factor) => attention_factor,
        None => match (not_zero("mscale")?, not_zero("mscale_all_dim")?) {
            (Some(mscale), Some(mscale_all_dim)) => magnitude(mscale) / magnitude(mscale_all_dim),
            _ => magnitude(1.0),
        },
    };
    Ok(RopeScaling::Yarn {
        factor,
        attention_factor,
        beta_fast: not_zero("beta_fast")?.unwrap_or(32.0),
        beta_slow: not_zero("beta_slow")?.unwrap_or(1.0),
        truncate: scaling.boolean("truncate")?.unwrap_or(true),
        original_max_position_embeddings: original,
    })
}
