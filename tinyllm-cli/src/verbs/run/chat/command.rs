//! The commands of a chat: lines that begin with a slash.

/// What `/help` prints.
pub(super) const HELP: &str = "\
/set NAME VALUE    change a setting: temp, top_k, top_p, min_p, repeat_penalty, presence_penalty,
                   frequency_penalty, repeat_last_n, seed, max_tokens, stop, verbose (on|off),
                   overflow (ask|drop|stop: what to do when the context is full)
/system [TEXT]     what the model is told first; without TEXT, nothing
/show [WHAT]       settings, system, history, model, template or memory
/clear             forget the conversation
/save FILE         keep the conversation and its settings; of files only saved conversations are replaced
/load FILE         go on with one that was kept
/bye               leave (also Ctrl-D)
/help              this

\"\"\" begins a message of several lines and ends it. Ctrl-C stops the answer.";

/// A line of a chat.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// A message for the model.
    Say(&'a str),
    Help,
    Set {
        name: &'a str,
        value: &'a str,
    },
    System(&'a str),
    Show(&'a str),
    Clear,
    Save(&'a str),
    Load(&'a str),
    Bye,
}

impl<'a> Command<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// An unknown command, or one without what it needs; in words for the user.
    pub(super) fn parse(line: &'a str) -> Result<Self, String> {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else { return Ok(Command::Say(line)) };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = rest.trim();
        let file = |what: fn(&'a str) -> Self| {
            if rest.is_empty() { Err(format!("/{name} needs a file name")) } else { Ok(what(rest)) }
        };
        match name {
            "help" | "?" => Ok(Command::Help),
            "set" => match rest.split_once(char::is_whitespace) {
                // As ollama has it.
                Some(("system", text)) => Ok(Command::System(text.trim())),
                Some(("parameter", setting)) => Self::setting(setting.trim()),
                _ => Self::setting(rest),
            },
            "system" => Ok(Command::System(rest)),
            "show" => Ok(Command::Show(rest)),
            "clear" | "reset" => Ok(Command::Clear),
            "save" => file(Command::Save),
            "load" => file(Command::Load),
            "bye" | "exit" | "quit" => Ok(Command::Bye),
            _ => Err(format!("/{name} is no command; /help lists them")),
        }
    }

    fn setting(text: &'a str) -> Result<Self, String> {
        match text.split_once(char::is_whitespace) {
            Some((name, value)) => Ok(Command::Set { name, value: value.trim() }),
            None => Err("/set needs a name and a value; /show settings lists them".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_words_or_commands() {
        assert_eq!(Command::parse(" Hello, you. "), Ok(Command::Say("Hello, you.")));
        assert_eq!(Command::parse("/set temp 0.5"), Ok(Command::Set { name: "temp", value: "0.5" }));
        assert_eq!(Command::parse("/set parameter top_k  3"), Ok(Command::Set { name: "top_k", value: "3" }));
        assert_eq!(Command::parse("/set system Be brief."), Ok(Command::System("Be brief.")));
        assert_eq!(Command::parse("/system"), Ok(Command::System("")));
        assert_eq!(Command::parse("/save a b.json"), Ok(Command::Save("a b.json")));
        assert_eq!(Command::parse("/?"), Ok(Command::Help));
        assert_eq!(Command::parse("/bye"), Ok(Command::Bye));
        for wrong in ["/nothing", "/save", "/set", "/set temp"] {
            assert!(Command::parse(wrong).is_err(), "{wrong}");
        }
    }
}
