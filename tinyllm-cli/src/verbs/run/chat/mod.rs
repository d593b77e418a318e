//! A chat: read, answer, until the user leaves.

mod command;
mod conversation;
mod input;
mod settings;

use std::{ops::ControlFlow, path::Path, sync::Arc};

use anyhow::bail;
use tinyllm_mem::{Host, Tracking};
use tinyllm_model::{
    Engine, Tokenizer,
    chat::ChatTemplate,
    generation::{self, Event, FinishReason},
};

use self::{
    command::{Command, HELP},
    conversation::Conversation,
    input::{Input, Lines},
    settings::Settings,
};
use super::{Arguments, interrupt::Interrupt, report};
use crate::{models::Model, options::beside, output};

/// Everything a chat holds.
struct Chat {
    model: String,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    template_text: String,
    engine: Engine,
    tracking: Arc<Tracking<Host>>,
    interrupt: Interrupt,
    conversation: Conversation,
    settings: Settings,
}

/// Chats until the user leaves.
pub(super) fn run(arguments: &Arguments, model: &Model) -> anyhow::Result<()> {
    let mut chat = Chat::new(arguments, model)?;
    let mut lines = Lines::new()?;
    if let Some(prompt) = arguments.prompt() {
        chat.answer(&prompt)?;
    }
    loop {
        let (text, is_fenced) = match lines.next()? {
            Input::Line { text, is_fenced } => (text, is_fenced),
            Input::Interrupted => {
                output::note("Ctrl-D or /bye leaves");
                continue;
            }
            Input::Unreadable => {
                output::note("error: a line that is not UTF-8 was left out");
                continue;
            }
            Input::End => return Ok(()),
        };
        if text.trim().is_empty() {
            continue;
        }
        let command = if is_fenced { Ok(Command::Say(&text)) } else { Command::parse(&text) };
        let outcome = match command {
            Ok(Command::Bye) => return Ok(()),
            Ok(command) => chat.obey(command),
            Err(problem) => Err(anyhow::anyhow!(problem)),
        };
        match outcome {
            Err(error) if output::is_closed_pipe(&error) => return Err(error),
            // A chat survives what goes wrong in it.
            Err(error) => output::complain(&error),
            Ok(()) => {}
        }
    }
}

impl Chat {
    fn new(arguments: &Arguments, model: &Model) -> anyhow::Result<Self> {
        let source = if arguments.raw { None } else { model.template_source()? };
        let template = source.as_ref().map(ChatTemplate::new).transpose()?;
        if template.is_none() && !arguments.raw {
            output::note("this model has no chat template: it continues what you write");
        }
        let (tokenizer, (engine, tracking)) =
            beside(|| model.tokenizer(), || arguments.load.load(model, None, 1))?;
        Ok(Chat {
            model: model.name(),
            tokenizer,
            template,
            template_text: source.map(|source| source.text).unwrap_or_default(),
            engine,
            tracking,
            interrupt: Interrupt::install()?,
            conversation: Conversation {
                system: arguments.system.clone().unwrap_or_default(),
                ..Conversation::default()
            },
            settings: Settings { generation: arguments.generation(), verbose: arguments.verbose },
        })
    }

    fn obey(&mut self, command: Command<'_>) -> anyhow::Result<()> {
        match command {
            Command::Say(text) => self.answer(text)?,
            Command::Help => output::print(&format!("{HELP}\n"))?,
            Command::Set { name, value } => self.settings.set(name, value).map_err(anyhow::Error::msg)?,
            Command::System(text) => self.conversation.system = text.to_owned(),
            Command::Show(what) => self.show(what)?,
            Command::Clear => self.conversation.messages.clear(),
            Command::Save(path) => self.conversation.save(Path::new(path), &self.model, &self.settings)?,
            Command::Load(path) => {
                self.conversation = Conversation::load(Path::new(path), &mut self.settings)?
            }
            Command::Bye => {}
        }
        Ok(())
    }

    /// Answers, and keeps both sides. What fails is not kept: the user may say it otherwise.
    fn answer(&mut self, text: &str) -> anyhow::Result<()> {
        self.conversation.say("user", text.to_owned());
        let outcome = self.generate();
        match outcome {
            Ok(answer) => self.conversation.say("assistant", answer),
            Err(error) => {
                self.conversation.messages.pop();
                return Err(error);
            }
        }
        Ok(())
    }

    fn generate(&mut self) -> anyhow::Result<String> {
        let ids = self.conversation.tokens(&self.tokenizer, self.template.as_ref())?;
        let context = self.engine.context_size();
        if ids.len() > context {
            bail!(
                "the conversation has {} tokens and the context {context}: /clear it, or start with a larger --ctx-size",
                ids.len()
            );
        }
        self.interrupt.reset();
        let mut failure = None;
        let interrupt = &self.interrupt;
        let answer = generation::generate(
            &mut self.engine,
            Some(&self.tokenizer),
            &ids,
            &self.settings.generation,
            &mut |event| {
                if let Event::Text(text) = event
                    && let Err(error) = output::print(text)
                {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
                interrupt.flow()
            },
        )?;
        if let Some(error) = failure {
            return Err(error);
        }
        output::print("\n\n")?;
        if answer.finish_reason == FinishReason::Length && ids.len() + answer.ids.len() >= context {
            output::note("the context is full: /clear starts anew, a larger --ctx-size makes room");
        }
        if self.settings.verbose {
            output::note(&report::speed(&answer));
        }
        Ok(answer.text)
    }

    fn show(&self, what: &str) -> anyhow::Result<()> {
        let text = match what {
            "" | "settings" => {
                let settings = self.settings.to_json();
                settings.iter().map(|(name, value)| format!("{name:<20}{value}\n")).collect()
            }
            "system" => format!("{}\n", self.conversation.system),
            "history" => {
                let messages = &self.conversation.messages;
                messages.iter().map(|message| format!("{}: {}\n", message.role, message.content)).collect()
            }
            "model" | "info" => {
                let used = self.engine.cached_tokens().len();
                format!("{}, {used} of {} tokens of context used\n", self.model, self.engine.context_size())
            }
            "template" => format!("{}\n", self.template_text),
            "memory" => format!("{}\n", report::memory(&self.tracking)),
            other => bail!("/show {other}: one of settings, system, history, model, template, memory"),
        };
        output::print(&text)
    }
}
