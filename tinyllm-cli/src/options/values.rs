//! Parsers of option values: byte sizes, token ids, context sizes, group sizes.

use tinyllm_kernels::GroupSize;
use tinyllm_mem::Category;
use tinyllm_model::engine::GroupSizeChoice;

/// Reads `--group-size`.
pub(crate) fn group_size(text: &str) -> Result<GroupSizeChoice, String> {
    match text {
        "auto" => Ok(GroupSizeChoice::Auto),
        "channel" => Ok(GroupSizeChoice::Fixed(GroupSize::Channel)),
        "32" | "64" | "128" | "256" => text
            .parse()
            .map(|elements| GroupSizeChoice::Fixed(GroupSize::Elements(elements)))
            .map_err(|_| text.into()),
        _ => Err("one of auto, 32, 64, 128, 256, channel".into()),
    }
}

/// The value of `--ctx-size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContextSize {
    Auto,
    Tokens(u32),
}

pub(super) fn context_size(text: &str) -> Result<ContextSize, String> {
    match text {
        "auto" => Ok(ContextSize::Auto),
        _ => match text.parse() {
            Ok(tokens) if tokens > 0 => Ok(ContextSize::Tokens(tokens)),
            _ => Err("auto, or a number of tokens above 0".into()),
        },
    }
}

/// Reads `8GiB`, `500MB`, `1.5GB` or a number of bytes.
pub(crate) fn byte_size(text: &str) -> Result<usize, String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" | "k" => 1e3,
        "mb" | "m" => 1e6,
        "gb" | "g" => 1e9,
        "tb" | "t" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{unit:?} is no unit: B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")),
    };
    let bytes = number.parse::<f64>().map_err(|_| "a number with a unit, such as 8GiB".to_owned())? * factor;
    if (1.0..=2f64.powi(53)).contains(&bytes) {
        Ok(bytes as usize)
    } else {
        Err("from 1 byte to 8 PiB".into())
    }
}

/// Reads `kv=2GiB`.
pub(super) fn category_budget(text: &str) -> Result<(Category, usize), String> {
    let (name, size) = text.split_once('=').ok_or("a category and a size, such as kv=2GiB")?;
    let category = Category::ALL.into_iter().find(|category| category.name() == name);
    let names = || Category::ALL.map(Category::name).join(", ");
    let category = category.ok_or_else(|| format!("{name:?} is no category: {}", names()))?;
    Ok((category, byte_size(size)?))
}

/// Token ids on the command line: `1,2,3`.
#[derive(Clone)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

/// Reads [`TokenIds`].
pub(crate) fn token_ids(text: &str) -> Result<TokenIds, String> {
    text.split([',', ' '])
        .filter(|id| !id.is_empty())
        .map(|id| id.trim().parse().map_err(|_| format!("{id:?} is not a token id")))
        .collect::<Result<_, _>>()
        .map(TokenIds)
}
