//! The thread that templates are parsed and rendered on, with a stack of known size.
//!
//! What recurses on it is bounded: the parser by its own limit and by `syntax` (tokens of a tag, branches of an `if`),
//! compiling and freeing the syntax tree by the same, macros and recursive loops by the engine's limit, printing,
//! comparing and freeing values by `bounds::MAX_NESTING`. `tests::the_longest_chains_fit` checks these
//! limits times the frames of an unoptimised build against the stack.

use std::thread;

use crate::library_panics;

/// 16 KiB for each token of the longest expression; pages that are not used take no memory.
const STACK_BYTES: usize = 64 << 20;

/// Runs `work` on a stack of its own. An error says why the thread cannot be started, or why `work` panicked.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("chat template".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || library_panics::catch(work))
            .map_err(|error| format!("a thread with {STACK_BYTES} bytes of stack: {error}"))?;
        thread.join().unwrap_or_else(|_| Err("the thread ended".into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{
        ChatTemplate, TemplateSource, bounds,
        syntax::{MAX_BRANCHES, MAX_TAG_TOKENS},
    };

    /// Renders `text` for a caller that has hardly any stack itself.
    fn render(text: String) -> crate::Result<String> {
        let source =
            TemplateSource { path: "t".into(), text, tokens: crate::tokenizer::SpecialTokens::default() };
        let caller = thread::Builder::new().stack_size(128 << 10);
        let work = move || ChatTemplate::new(&source)?.render(&serde_json::json!([]), true);
        caller.spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn the_longest_chains_fit() {
        let chain = |begin: &str, link: &str, tokens: usize| {
            let chain = link.repeat((MAX_TAG_TOKENS - 4) / tokens);
            render(format!("{{{{ {begin}{chain} }}}}"))
        };
        assert_eq!(chain("1", "+1", 2).unwrap(), ((MAX_TAG_TOKENS - 4) / 2 + 1).to_string());
        assert_eq!(chain("1", "|string", 2).unwrap(), "1");
        assert_eq!(chain("1", " is defined", 2).unwrap(), "True");
        assert_eq!(chain("1", " if 1 else 1", 4).unwrap(), "1");
        assert_eq!(chain("a", " or a", 2).unwrap(), "");
        assert_eq!(chain("1", "**1", 2).unwrap(), "1");
        assert_eq!(chain("a", "~a", 2).unwrap(), "");
        assert_eq!(chain("'a'", "[:]", 3).unwrap(), "a");
        assert!(chain("a", ".b", 2).unwrap_err().to_string().contains("undefined"));
        assert!(chain("a", "()", 2).unwrap_err().to_string().contains("unknown"));
        for (prefix, expected) in [("not ", "True"), ("-", "1")] {
            assert_eq!(
                render(format!("{{{{ {}1 }}}}", prefix.repeat(MAX_TAG_TOKENS - 4))).unwrap(),
                expected
            );
        }
        let branches = "{% elif a %}".repeat(MAX_BRANCHES);
        assert_eq!(render(format!("{{% if a %}}{branches}{{% else %}}x{{% endif %}}")).unwrap(), "x");
    }

    #[test]
    fn the_deepest_values_and_calls_fit() {
        let nest = |depth: usize, last: &str| {
            let set = "{% set ns.x = [ns.x] %}";
            let head = "{% set ns = namespace(x=[]) %}{% for i in range(";
            render(format!("{head}{depth}) %}}{set}{{% endfor %}}{last}"))
        };
        for (last, bytes) in [
            ("{{ ns.x }}", 2 * bounds::MAX_NESTING),
            ("{{ ns.x|tojson }}", 2 * bounds::MAX_NESTING),
            ("{{ ns.x == ns.x[:] }}{{ {ns.x: ns.x} == {ns.x: ns.x} }}", 8),
        ] {
            assert_eq!(
                nest(bounds::MAX_NESTING - 2, last).unwrap().len(),
                bytes - if bytes > 8 { 2 } else { 0 }
            );
        }
        assert!(nest(bounds::MAX_NESTING + 1, "").unwrap_err().to_string().contains("nested"));
        for endless in [
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
            "{% block a %}{{ self.a() }}{% endblock %}",
        ] {
            assert!(render(endless.into()).unwrap_err().to_string().contains("recursion"), "{endless}");
        }
    }
}
