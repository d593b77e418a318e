//! The order of names: numbers inside them count as numbers, so that layer 10 follows layer 9.

/// A run of digits or of other characters of a name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Number(u64),
    Text(String),
}

/// A key that sorts names so.
pub(super) fn natural(name: &str) -> Vec<Part> {
    let runs = name.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit());
    let part = |run| {
        let text = String::from_utf8_lossy(run).into_owned();
        text.parse().map_or(Part::Text(text), Part::Number)
    };
    runs.map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_in_the_order_of_their_numbers() {
        let mut names =
            ["model.layers.10.a", "model.layers.2.b", "lm_head", "model.layers.2.a", "model.norm"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(
            names,
            ["lm_head", "model.layers.2.a", "model.layers.2.b", "model.layers.10.a", "model.norm"]
        );
    }
}
