//! Hints for mistakes on the command line that clap's own message does not explain.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::models;

/// Prints clap's error, and a hint where there is one.
pub(crate) fn explain(mut error: clap::Error) {
    let hint = hint(&error);
    if hint.is_some() {
        // "To pass '-m' as a value, use '-- -m'" is not what was meant.
        error.remove(ContextKind::Suggested);
    }
    // Help and version go to stdout; a reader that closed it has what it wanted.
    let _ = error.print();
    if let Some(hint) = hint {
        crate::output::note(&format!("\n{hint}"));
    }
}

fn hint(error: &clap::Error) -> Option<String> {
    let names: Vec<&str> = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => vec![name],
        ContextValue::Strings(names) => names.iter().map(String::as_str).collect(),
        _ => return None,
    };
    let is_any = |wanted: &[&str]| names.iter().any(|name| wanted.contains(name));
    match error.kind() {
        ErrorKind::MissingRequiredArgument if is_any(&["<MODEL>"]) => {
            Some(format!("MODEL is {}{}", models::MODEL.replacen('A', "a", 1), models::names::here()))
        }
        ErrorKind::UnknownArgument if is_any(&["-m", "--model", "-p", "--prompt"]) => {
            Some("MODEL and PROMPT come without flags: tinyllm run MODEL PROMPT".into())
        }
        _ => None,
    }
}
