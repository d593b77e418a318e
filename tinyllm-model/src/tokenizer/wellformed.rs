//! JSON that is checked to the last escape and not kept.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Any JSON value. Unlike [`serde::de::IgnoredAny`], which skips over strings, it decodes them.
pub(super) struct Json;

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Json)
    }
}

impl<'de> Visitor<'de> for Json {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_str<E>(self, _: &str) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<Json>()?.is_some() {}
        Ok(Json)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        while entries.next_entry::<Json, Json>()?.is_some() {}
        Ok(Json)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::Tokenizer;

    #[test]
    fn what_is_no_json_is_an_error_wherever_it_is() {
        let sound = r#"{"version":"1.0","decoder":{"type":"Fuse"},"model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#;
        assert!(Tokenizer::from_json(sound.as_bytes(), Path::new("tokenizer.json")).is_ok());
        let escape = sound.replace("Fuse", "\\uD800");
        for broken in [&sound[..40], &sound[..sound.len() - 1], &escape] {
            let error = Tokenizer::from_json(broken.as_bytes(), Path::new("tokenizer.json")).err();
            assert!(error.is_some_and(|error| error.to_string().contains("tokenizer.json")), "{broken}");
        }
    }
}
