//! Some tokens of a sequence, and sequences put together from weighted tokens.

use candle_core::Tensor;

use crate::{
    NnError,
    tensor::{from_values, with_values},
};

/// Tokens, their places in a longer sequence, and what each counts there.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Shape `(1, places, channels)`.
    pub tokens: &'a Tensor,
    /// Where each token belongs.
    pub places: &'a [usize],
    /// As many as `places`.
    pub weights: &'a [f32],
}

/// The tokens of `x` at `places`.
///
/// Shape `(1, tokens, channels)` → `(1, places, channels)`.
///
/// # Errors
///
/// If `x` has another shape, a place lies beyond it, or the tensor isn't `f32` on the CPU.
pub fn gather_tokens(x: &Tensor, places: &[usize]) -> Result<Tensor, NnError> {
    let (tokens, channels) = sequence("tokens to gather", x)?;
    if let Some(&place) = places.iter().find(|&&place| tokens <= place) {
        return Err(outside(place, tokens));
    }
    let mut out = Vec::with_capacity(places.len() * channels);
    with_values(x, |x| {
        for place in places {
            out.extend_from_slice(&x[place * channels..][..channels]);
        }
    })?;
    from_values(out, (1, places.len(), channels))
}

/// A sequence of `tokens`, each the weighted sum of what the parts have at its place, in order;
/// zero where they have nothing.
///
/// Shape `(1, tokens, channels)`.
///
/// # Errors
///
/// If the parts have other shapes or other channels than one another, a place lies beyond
/// `tokens`, or a tensor isn't `f32` on the CPU.
pub fn mix_tokens(parts: &[Part<'_>], tokens: usize, channels: usize) -> Result<Tensor, NnError> {
    let mut out = vec![0.0; tokens * channels];
    for part in parts {
        let shape = (part.places.len(), channels);
        if sequence("tokens to mix", part.tokens)? != shape
            || part.weights.len() != part.places.len()
        {
            let expected = format!("(1, {}, {channels}), and as many weights", part.places.len());
            return Err(NnError::shape("tokens to mix", expected, part.tokens.dims()));
        }
        if let Some(&place) = part.places.iter().find(|&&place| tokens <= place) {
            return Err(outside(place, tokens));
        }
        with_values(part.tokens, |x| {
            for ((index, &place), &weight) in part.places.iter().enumerate().zip(part.weights) {
                let from = &x[index * channels..][..channels];
                for (out, x) in out[place * channels..][..channels].iter_mut().zip(from) {
                    *out += weight * x;
                }
            }
        })?;
    }
    from_values(out, (1, tokens, channels))
}

fn sequence(what: &'static str, x: &Tensor) -> Result<(usize, usize), NnError> {
    match *x.dims() {
        [1, tokens, channels] => Ok((tokens, channels)),
        _ => Err(NnError::shape(what, "(1, tokens, channels)", x.dims())),
    }
}

fn outside(place: usize, tokens: usize) -> NnError {
    let expected = format!("less than the number of tokens, {tokens}");
    NnError::Setting { what: "place of a token", expected, found: place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_gathered_in_the_order_asked_for() {
        let x = from_values(vec![1.0, -1.0, 2.0, -2.0, 3.0, -3.0], (1, 3, 2)).unwrap();
        let y = gather_tokens(&x, &[2, 0]).unwrap();
        assert_eq!(y.dims(), [1, 2, 2]);
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [3.0, -3.0, 1.0, -1.0]);
        let error = gather_tokens(&x, &[0, 3]).unwrap_err().to_string();
        assert_eq!(error, "place of a token must be less than the number of tokens, 3, got 3");
    }

    #[test]
    fn parts_add_up_where_they_meet() {
        let a = from_values(vec![1.0, 2.0], (1, 2, 1)).unwrap();
        let b = from_values(vec![10.0], (1, 1, 1)).unwrap();
        let parts = [
            Part { tokens: &a, places: &[3, 1], weights: &[1.0, 0.25] },
            Part { tokens: &b, places: &[1], weights: &[0.75] },
        ];
        let y = mix_tokens(&parts, 4, 1).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.0, 8.0, 0.0, 1.0]);
        assert!(mix_tokens(&parts, 3, 1).is_err());
        assert!(mix_tokens(&parts, 4, 2).is_err());
        assert!(mix_tokens(&[Part { weights: &[], ..parts[0] }], 4, 1).is_err());
    }
}
