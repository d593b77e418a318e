//! The queries of an attention operation: every token's, or those of the sampled rows only.

use crate::{RowSet, Step};

/// Queries of one sequence at consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) sequence: usize,
    /// The first query's row among the step's tokens.
    pub(super) row: usize,
    /// The first query's row among the outputs.
    pub(super) out_row: usize,
    pub(super) first_position: usize,
    pub(super) count: usize,
}

impl Run {
    /// At most `count` queries from query `start` on.
    pub(super) fn part(self, start: usize, count: usize) -> Run {
        Run {
            row: self.row + start,
            out_row: self.out_row + start,
            first_position: self.first_position + start,
            count: count.min(self.count - start),
            ..self
        }
    }
}

/// The runs of queries whose outputs have the row set `rows`, in the outputs' order.
pub(super) fn runs<'a>(step: &'a Step<'a>, rows: RowSet) -> impl Iterator<Item = Run> + 'a {
    let outputs = match rows {
        RowSet::Tokens => step.tokens(),
        RowSet::Sampled => step.sampled_rows.len(),
    };
    let from = move |out_row: usize| (out_row < outputs).then(|| run_at(step, rows, out_row));
    std::iter::successors(from(0), move |run| from(run.out_row + run.count))
}

/// The run that begins with output row `out_row`.
pub(super) fn run_at(step: &Step<'_>, rows: RowSet, out_row: usize) -> Run {
    let row = match rows {
        RowSet::Tokens => out_row,
        RowSet::Sampled => step.sampled_rows[out_row] as usize,
    };
    let sequence = step.sequence_of(row);
    let (first_row, first_position, tokens) = step.span(sequence);
    let following = row..first_row + tokens;
    let count = match rows {
        RowSet::Tokens => following.len(),
        RowSet::Sampled => {
            let sampled = step.sampled_rows[out_row..].iter();
            sampled.zip(following).take_while(|(sampled, row)| **sampled as usize == *row).count()
        }
    };
    Run { sequence, row, out_row, first_position: first_position + row - first_row, count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepInput;

    /// Three sequences of 4, 1 and 3 tokens that begin at positions 0, 7 and 2.
    fn step(sampled_rows: &[u32]) -> Step<'_> {
        Step {
            input: StepInput::TokenIds(&[0; 8]),
            query_starts: &[0, 4, 5, 8],
            kv_lengths: &[4, 8, 5],
            block_tables: &[0; 3],
            block_table_stride: 1,
            sampled_rows,
        }
    }

    fn found(sampled_rows: &[u32], rows: RowSet) -> Vec<(usize, usize, usize, usize, usize)> {
        runs(&step(sampled_rows), rows)
            .map(|run| (run.sequence, run.row, run.out_row, run.first_position, run.count))
            .collect()
    }

    #[test]
    fn tokens_are_a_run_for_each_sequence() {
        assert_eq!(found(&[], RowSet::Tokens), [(0, 0, 0, 0, 4), (1, 4, 4, 7, 1), (2, 5, 5, 2, 3)]);
    }

    #[test]
    fn consecutive_sampled_rows_are_a_run() {
        assert_eq!(found(&[], RowSet::Sampled), []);
        // The last row of one sequence and the first of the next are two runs; so are rows that are out of order or
        // repeated.
        let wanted = [(0, 1, 0, 1, 3), (1, 4, 3, 7, 1), (2, 7, 4, 4, 1), (2, 5, 5, 2, 2), (2, 6, 7, 3, 1)];
        assert_eq!(found(&[1, 2, 3, 4, 7, 5, 6, 6], RowSet::Sampled), wanted);
    }
}
