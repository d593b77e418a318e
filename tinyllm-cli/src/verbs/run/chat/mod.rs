//! A chat: read, answer, until the user leaves.

mod command;
mod conversation;
mod input;
mod overflow;
mod settings;

use std::{ops::ControlFlow, path::Path, sync::Arc};

use anyhow::bail;
use tinyllm_mem::{Host, Tracking};
use tinyllm_model::{
    Engine, ModelFiles, Tokenizer,
    chat::ChatTemplate,
    engine::SequenceId,
    files::join,
    generation::{self, Event, FinishReason},
};

pub(super) use self::overflow::Overflow;
use self::{
    command::{Command, HELP},
    conversation::Conversation,
    input::{Input, Lines},
    overflow::{Full, REMEDY, answer_room},
    settings::Settings,
};
use super::{Arguments, interrupt::Interrupt, report};
use crate::{models, output};

/// Everything a chat holds.
struct Chat {
    model: String,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    template_text: String,
    engine: Engine,
    /// Holds the conversation's tokens.
    sequence: SequenceId,
    tracking: Arc<Tracking<Host>>,
    interrupt: Interrupt,
    conversation: Conversation,
    settings: Settings,
    /// Whether it was said that the context is full, and how many messages did not fit since.
    is_full: bool,
    left_out: usize,
}

/// Chats until the user leaves.
pub(super) fn run(arguments: &Arguments, model: &ModelFiles) -> anyhow::Result<()> {
    let mut chat = Chat::new(arguments, model)?;
    let mut lines = Lines::new()?;
    if lines.can_ask() {
        output::note(&format!("{}; /? for help, Ctrl-D leaves", chat.model));
    }
    if let Some(prompt) = arguments.prompt() {
        chat.answer(&prompt, &mut lines)?;
    }
    let outcome = chat.converse(&mut lines);
    if chat.left_out > 0 {
        output::note(&format!("the context was full: {} more messages were left out", chat.left_out));
    }
    outcome
}

impl Chat {
    fn converse(&mut self, lines: &mut Lines) -> anyhow::Result<()> {
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
                Ok(command) => self.execute(command, lines),
                Err(problem) => Err(anyhow::anyhow!(problem)),
            };
            match outcome {
                Err(error) if output::is_closed_pipe(&error) => return Err(error),
                Err(error) if error.is::<Full>() => {
                    // Who cannot change anything need not hear it of each line.
                    if self.is_full && !lines.can_ask() {
                        self.left_out += 1;
                    } else {
                        output::complain(&error);
                    }
                    self.is_full = true;
                }
                // A chat survives what goes wrong in it.
                Err(error) => output::complain(&error),
                Ok(()) => {}
            }
        }
    }

    fn new(arguments: &Arguments, model: &ModelFiles) -> anyhow::Result<Self> {
        let source = if arguments.raw { None } else { model.text().template_source()? };
        let template = source.as_ref().map(ChatTemplate::new).transpose()?;
        if template.is_none() && !arguments.raw {
            output::note("this model has no chat template: it continues what you write");
        }
        let (tokenizer, (mut engine, tracking)) =
            join(|| models::tokenizer(model.text()), || arguments.load.load(model, None, 1))?;
        let sequence = engine.create_sequence()?;
        Ok(Chat {
            model: models::name(model),
            tokenizer,
            template,
            template_text: source.map(|source| source.text).unwrap_or_default(),
            engine,
            sequence,
            tracking,
            interrupt: Interrupt::install()?,
            conversation: Conversation {
                system: arguments.system.clone().unwrap_or_default(),
                ..Conversation::default()
            },
            settings: Settings {
                generation: arguments.generation(),
                verbose: arguments.verbose,
                overflow: arguments.overflow,
            },
            is_full: false,
            left_out: 0,
        })
    }

    fn execute(&mut self, command: Command<'_>, lines: &mut Lines) -> anyhow::Result<()> {
        match command {
            Command::Say(text) => self.answer(text, lines)?,
            Command::Help => output::print(&format!("{HELP}\n"))?,
            Command::Set { name, value } => self.settings.set(name, value).map_err(anyhow::Error::msg)?,
            Command::System(text) => self.conversation.system = text.to_owned(),
            Command::Show(what) => self.show(what)?,
            Command::Clear => {
                self.conversation.messages.clear();
                self.is_full = false;
            }
            Command::Save(path) => self.conversation.save(Path::new(path), &self.model, &self.settings)?,
            Command::Load(path) => {
                self.conversation = Conversation::load(Path::new(path), &mut self.settings)?;
                self.is_full = false;
            }
            Command::Bye => {}
        }
        Ok(())
    }

    /// Answers, and keeps both sides. What fails is not kept: the user may say it otherwise.
    fn answer(&mut self, text: &str, lines: &mut Lines) -> anyhow::Result<()> {
        self.conversation.say("user", text.to_owned());
        let outcome = self.prompt(lines).and_then(|ids| self.generate(&ids));
        match outcome {
            Ok(answer) => self.conversation.say("assistant", answer),
            Err(error) => {
                self.conversation.messages.pop();
                return Err(error);
            }
        }
        Ok(())
    }

    fn tokens(&self) -> anyhow::Result<Vec<u32>> {
        self.conversation.tokens(&self.tokenizer, self.template.as_ref())
    }

    /// The tokens of what was said, once they leave room for an answer or the user wants it without.
    fn prompt(&mut self, lines: &mut Lines) -> anyhow::Result<Vec<u32>> {
        let ids = self.tokens()?;
        let context = self.engine.context_size();
        let room = answer_room(context, self.settings.generation.max_tokens);
        if ids.len().saturating_add(room) <= context {
            return Ok(ids);
        }
        if self.conversation.turns() > 1 && self.may_drop(ids.len(), lines)? {
            self.drop_until(context - room)?;
            return self.tokens();
        }
        if ids.len() > context { Err(Full { tokens: ids.len(), context }.into()) } else { Ok(ids) }
    }

    /// Whether the oldest turns may go. The user is asked at most once.
    fn may_drop(&mut self, tokens: usize, lines: &mut Lines) -> anyhow::Result<bool> {
        if self.settings.overflow == Overflow::Ask && lines.can_ask() {
            let context = self.engine.context_size();
            let question = format!(
                "the conversation takes {tokens} of the context's {context} tokens: drop its oldest turns, now and \
                 whenever it is full? (y/n) "
            );
            let answer = lines.ask(&question)?;
            self.settings.overflow = if answer == Some(true) { Overflow::Drop } else { Overflow::Stop };
            if answer != Some(true) {
                output::note("nothing is dropped; /set overflow drop changes that");
            }
        }
        Ok(self.settings.overflow == Overflow::Drop)
    }

    /// Drops as few of the oldest turns as leave at most `most_tokens`; all but the last where that alone has more.
    ///
    /// # Errors
    /// A last turn that does not fit the context: nothing is dropped then.
    fn drop_until(&mut self, most_tokens: usize) -> anyhow::Result<()> {
        let without = |turns: usize| -> anyhow::Result<(Conversation, usize)> {
            let mut shorter = self.conversation.clone();
            shorter.drop_turns(turns);
            let ids = shorter.tokens(&self.tokenizer, self.template.as_ref())?;
            Ok((shorter, ids.len()))
        };
        let (mut least, mut most) = (1, self.conversation.turns() - 1);
        while least < most {
            let middle = (least + most) / 2;
            if without(middle)?.1 <= most_tokens {
                most = middle;
            } else {
                least = middle + 1;
            }
        }
        let (shorter, tokens) = without(least)?;
        let context = self.engine.context_size();
        if tokens > context {
            return Err(Full { tokens, context }.into());
        }
        self.conversation = shorter;
        let turns = if least == 1 { "the oldest turn".into() } else { format!("the {least} oldest turns") };
        output::note(&format!("the context is full: {turns} of this chat were dropped"));
        Ok(())
    }

    fn generate(&mut self, ids: &[u32]) -> anyhow::Result<String> {
        let context = self.engine.context_size();
        self.interrupt.reset();
        let mut failure = None;
        let interrupt = &self.interrupt;
        let answer = generation::generate(
            &mut self.engine,
            self.sequence,
            Some(&self.tokenizer),
            ids,
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
        self.is_full =
            answer.finish_reason == FinishReason::Length && ids.len() + answer.ids.len() >= context;
        match self.settings.overflow {
            Overflow::Drop if self.is_full => {
                output::note(
                    "the context is full: the answer ends here; the oldest turns go before the next one",
                );
            }
            _ if self.is_full => output::note(&format!("the context is full: {REMEDY}")),
            _ => {}
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
                let used = self.engine.sequence_tokens(self.sequence)?.len();
                format!("{}, {used} of {} tokens of context used\n", self.model, self.engine.context_size())
            }
            "template" => format!("{}\n", self.template_text),
            "memory" => format!("{}\n", report::memory(&self.tracking)),
            other => bail!("/show {other}: one of settings, system, history, model, template, memory"),
        };
        output::print(&text)
    }
}
