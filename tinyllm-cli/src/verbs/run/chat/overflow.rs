//! What a chat does when it no longer fits the context.

use std::fmt;

use clap::{ValueEnum, builder::PossibleValue};

/// What to do when the context is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// Ask, once; where nobody can be asked, as `Stop`.
    Ask,
    /// Drop the oldest turns, and say so.
    Drop,
    /// Answer no more until there is room.
    Stop,
}

impl Overflow {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Overflow::Ask => "ask",
            Overflow::Drop => "drop",
            Overflow::Stop => "stop",
        }
    }
}

impl ValueEnum for Overflow {
    fn value_variants<'a>() -> &'a [Self] {
        &[Overflow::Ask, Overflow::Drop, Overflow::Stop]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// What a user can do about a full context.
pub(super) const REMEDY: &str =
    "/clear starts anew, /set overflow drop drops the oldest turns, a larger --ctx-size makes room";

/// A message that does not fit the context together with the conversation.
#[derive(Debug)]
pub(super) struct Full {
    pub(super) tokens: usize,
    pub(super) context: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full { tokens, context } = self;
        write!(formatter, "the conversation has {tokens} tokens and the context {context}: {REMEDY}")
    }
}

impl std::error::Error for Full {}

/// The tokens that an answer should have room for: a quarter of the context, or what it is limited to.
pub(super) fn answer_room(context: usize, max_tokens: Option<usize>) -> usize {
    max_tokens.unwrap_or(usize::MAX).min(context / 4)
}
