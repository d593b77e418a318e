//! Chat templates: damaged ones, ones made of their parts, and any messages.

use std::path::PathBuf;

use tinyllm_model::{
    chat::{ChatTemplate, TemplateSource},
    tokenizer::SpecialTokens,
};

use crate::{check_message, damage, fuzz, memory, phrases::Choices};

/// Templates with what real ones use, beside the reference set's.
const TOUR: &str = "{%- if messages[0]['role'] == 'system' %}{{ messages[0]['content'].strip() }}{% set messages = \
    messages[1:] %}{% endif %}{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + loop.index0 %}\
    {% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
    {{ bos_token + '[' ~ m.role ~ ']' + (m['content'] | trim) + eos_token }}{% for i in range(3) %}{{ i }}{% endfor %}\
    {{ m | tojson }}{% endfor %}{{ ns.n }}{% if add_generation_prompt %}[assistant]{% endif %}";

#[test]
fn rendering() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/oracle/chat_templates/chat_oracle.json");
    let oracle: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut sound: Vec<&str> =
        oracle["templates"].as_object().unwrap().values().filter_map(|t| t.as_str()).collect();
    sound.push(TOUR);
    type Input = (u8, Vec<damage::Wound>, Vec<(u8, String)>, Vec<u8>);
    fuzz::<Input>(|(which, wounds, messages, choices)| {
        let mut made = Choices::new(choices).template();
        made.truncate(4 << 20); // all of it is ASCII
        let (text, wounds) = match which % 4 {
            0 => (sound[*which as usize / 4 % sound.len()], &wounds[..]),
            1 => (made.as_str(), &wounds[..]),
            _ => (made.as_str(), &[][..]),
        };
        let text = String::from_utf8_lossy(&damage::bytes(text.as_bytes(), text.len(), wounds)).into_owned();
        let source = TemplateSource {
            path: PathBuf::from("chat_template.jinja"),
            text,
            tokens: SpecialTokens::new([("bos_token", "<s>"), ("eos_token", "</s>")]),
        };
        let Some(template) = check_message(ChatTemplate::new(&source)) else { return };
        let roles = ["system", "user", "assistant", "tool", ""];
        let messages: Vec<_> = messages
            .iter()
            .take(8)
            .map(|(role, content)| serde_json::json!({"role": roles[*role as usize % roles.len()], "content": content}))
            .collect();
        check_message(template.render(&messages.into(), true));
        memory::check();
    });
}
