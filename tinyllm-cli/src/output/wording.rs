//! What the program says of a model's errors: the error, and the way out in the program's own options.

use tinyllm_mem::MemError;
use tinyllm_model::ModelError;

/// The sentence for `error`.
pub(crate) fn sentence(error: &ModelError) -> String {
    format!("{error}{}", remedy(error).unwrap_or_default())
}

/// What to do about it, to follow the error's own words.
fn remedy(error: &ModelError) -> Option<String> {
    Some(match error {
        ModelError::ContextExceeded { rope_limit: None, .. } => "; --ctx-size makes room for more".into(),
        ModelError::ContextExceeded { rope_limit: Some(_), .. } => {
            "; dynamic-NTK RoPE is supported within the original context only".into()
        }
        ModelError::ContextBeyondRope { rope_limit, .. } => {
            format!(": pass --ctx-size {rope_limit} or less")
        }
        ModelError::GroupSizeMismatch { .. } => {
            "; choose another --group-size, or --force to write it for this program only".into()
        }
        ModelError::Device { source: MemError::OutOfMemory { .. }, .. } => {
            "; what was free may have been taken meanwhile: a smaller --ctx-size, --kv int8 or --gpu-layers auto take less"
                .into()
        }
        ModelError::Device { source: MemError::Driver { .. }, .. } => {
            "; `tinyllm doctor` says what the driver and its devices are like, --device cpu runs without them".into()
        }
        ModelError::NoLayerSplit { .. } => {
            "; cpu among the devices takes the others, and a smaller --ctx-size, or --kv int8, leaves more room".into()
        }
        ModelError::OverDeviceBudget { source, .. } => {
            let own = remedy(source).unwrap_or_default();
            format!("{own}; or --gpu-layers auto, with the other layers on the processor")
        }
        ModelError::OverBudget { largest_context, largest_context_int8, largest_batch, .. } => {
            let context = match (largest_context, largest_context_int8) {
                (Some(asked), Some(int8)) => {
                    format!("; --ctx-size {asked} would fit, and --ctx-size {int8} with --kv int8")
                }
                (None, Some(int8)) => format!("; --ctx-size {int8} with --kv int8 would fit"),
                _ => "; no context fits beside these weights".into(),
            };
            let batch = largest_batch.map(|sequences| format!("; or a batch of {sequences}"));
            context + &batch.unwrap_or_default()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_budget(contexts: (Option<usize>, Option<usize>), largest_batch: Option<usize>) -> String {
        sentence(&budget_error(contexts, largest_batch))
    }

    fn budget_error(contexts: (Option<usize>, Option<usize>), largest_batch: Option<usize>) -> ModelError {
        ModelError::OverBudget {
            needed_bytes: 100,
            budget_bytes: 90,
            weights_bytes: 50,
            kv_bytes: 20,
            slots_bytes: 10,
            arena_bytes: 20,
            max_seq_len: 64,
            max_batch_size: 4,
            largest_context: contexts.0,
            largest_context_int8: contexts.1,
            largest_batch,
        }
    }

    #[test]
    fn a_refusal_says_what_would_fit() {
        assert_eq!(
            over_budget((Some(32), Some(48)), None),
            "100 bytes are needed and the budget is 90, 10 too few: weights 50, KV cache 20 (64 tokens of context, \
             batch of 4), sequence slots 10, activations 20; --ctx-size 32 would fit, and --ctx-size 48 with --kv int8"
        );
        assert!(
            over_budget((None, Some(16)), Some(2))
                .ends_with("; --ctx-size 16 with --kv int8 would fit; or a batch of 2")
        );
        assert!(over_budget((None, None), None).ends_with("; no context fits beside these weights"));
        let source = Box::new(budget_error((None, None), None));
        let of_device = sentence(&ModelError::OverDeviceBudget { device: "cuda:0".into(), source });
        assert!(
            of_device.starts_with("cuda:0: 100 bytes are needed")
                && of_device.ends_with("; or --gpu-layers auto, with the other layers on the processor"),
            "{of_device}"
        );
    }

    #[test]
    fn a_device_that_fails_has_a_way_out() {
        let source = MemError::OutOfMemory { name: "weights".into(), requested_bytes: 100 };
        let full = sentence(&ModelError::Device { device: "cuda:0".into(), source });
        assert!(
            full.starts_with(
                "cuda:0: out of memory: 100 bytes for weights; what was free may have been taken"
            ) && full.contains("--gpu-layers auto"),
            "{full}"
        );
    }

    #[test]
    fn layers_without_room_have_a_way_out() {
        let none = ModelError::NoLayerSplit { wanted_layers: 30, fitting_layers: 12, model_layers: 32 };
        assert_eq!(
            sentence(&none),
            "the devices have room for 12 of the model's 32 layers, and 30 are wanted there; cpu among the devices takes the \
             others, and a smaller --ctx-size, or --kv int8, leaves more room"
        );
    }

    #[test]
    fn a_context_that_is_too_short_has_a_way_out_where_there_is_one() {
        let exceeded = |rope_limit| ModelError::ContextExceeded { tokens: 40, context: 32, rope_limit };
        assert_eq!(
            sentence(&exceeded(None)),
            "40 tokens do not fit the context of 32; --ctx-size makes room for more"
        );
        assert!(sentence(&exceeded(Some(32))).contains("dynamic-NTK"));
        let beyond = ModelError::ContextBeyondRope { path: Some("model".into()), tokens: 40, rope_limit: 32 };
        assert_eq!(
            sentence(&beyond),
            "model: rope_scaling: dynamic-NTK RoPE over a context of 40 tokens is not supported; it runs within the \
             original context of 32: pass --ctx-size 32 or less"
        );
    }
}
