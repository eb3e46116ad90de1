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

impl Part<'_> {
    /// Whether it fits a sequence of so many tokens and channels.
    fn check(&self, what: &'static str, tokens: usize, channels: usize) -> Result<(), NnError> {
        let shape = (self.places.len(), channels);
        if sequence(what, self.tokens)? != shape || self.weights.len() != self.places.len() {
            let expected = format!("(1, {}, {channels}), and as many weights", self.places.len());
            return Err(NnError::shape(what, expected, self.tokens.dims()));
        }
        match self.places.iter().find(|&&place| tokens <= place) {
            Some(&place) => Err(outside(place, tokens)),
            None => Ok(()),
        }
    }
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
        part.check("tokens to mix", tokens, channels)?;
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

/// A [`Part`] of attention, and what its scores sum up to.
#[derive(Clone, Copy, Debug)]
pub struct ScoredPart<'a> {
    /// What was attended to.
    pub part: Part<'a>,
    /// The logarithm of the sum of the exponentiated scores, `(1, places, heads)`.
    pub sums: &'a Tensor,
}

/// A sequence of `tokens`, each the attention over all that the parts attended to at its place, as if the logarithm of
/// the part's weight had been added to its scores; zero where they have nothing.
///
/// With `Zₚ = exp(sumₚ)`: `Σ wₚ·Zₚ·outₚ / Σ wₚ·Zₚ`, for each head.
///
/// Shape `(1, tokens, channels)`.
///
/// # Errors
///
/// As [`mix_tokens`], and if the sums are of other tokens or of heads that don't divide the channels.
pub fn blend_tokens(
    parts: &[ScoredPart<'_>],
    tokens: usize,
    channels: usize,
) -> Result<Tensor, NnError> {
    let heads = parts.first().and_then(|it| it.sums.dims().last().copied()).unwrap_or(1);
    if heads == 0 || !channels.is_multiple_of(heads) {
        let expected = format!("a divisor of {channels} channels");
        return Err(NnError::Setting { what: "heads of sums", expected, found: heads });
    }
    let mut scores = Vec::with_capacity(parts.len());
    let mut greatest = vec![f32::NEG_INFINITY; tokens * heads];
    for ScoredPart { part, sums } in parts {
        part.check("tokens to blend", tokens, channels)?;
        if sums.dims() != [1, part.places.len(), heads] {
            let expected = format!("(1, {}, {heads})", part.places.len());
            return Err(NnError::shape("sums of scores", expected, sums.dims()));
        }
        let own = with_values(sums, |sums| {
            let weighted = sums.chunks_exact(heads).zip(part.weights);
            weighted.flat_map(|(sums, weight)| sums.iter().map(|sum| sum + weight.ln())).collect()
        })?;
        let own: Vec<f32> = own;
        for (&place, own) in part.places.iter().zip(own.chunks_exact(heads)) {
            for (greatest, own) in greatest[place * heads..][..heads].iter_mut().zip(own) {
                *greatest = greatest.max(*own);
            }
        }
        scores.push(own);
    }
    let mut totals = vec![0.0_f32; tokens * heads];
    let mut out = vec![0.0_f32; tokens * channels];
    #[expect(clippy::integer_division, reason = "`heads` divides `channels`")]
    let dim = channels / heads;
    for (ScoredPart { part, .. }, scores) in parts.iter().zip(&scores) {
        with_values(part.tokens, |x| {
            let each = part.places.iter().zip(x.chunks_exact(channels));
            for ((&place, from), own) in each.zip(scores.chunks_exact(heads)) {
                for head in 0..heads {
                    // A weight of nothing is nothing, also where nobody else speaks.
                    if own[head] == f32::NEG_INFINITY {
                        continue;
                    }
                    let share = (own[head] - greatest[place * heads + head]).exp();
                    totals[place * heads + head] += share;
                    let to = &mut out[place * channels + head * dim..][..dim];
                    for (to, from) in to.iter_mut().zip(&from[head * dim..]) {
                        *to += share * from;
                    }
                }
            }
        })?;
    }
    for (values, total) in out.chunks_exact_mut(dim).zip(&totals) {
        if 0.0 < *total {
            for value in values {
                *value /= total;
            }
        }
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

    #[test]
    fn blended_parts_count_by_weight_and_by_what_their_scores_sum_up_to() {
        let tokens = from_values(vec![1.0, 4.0], (1, 1, 2)).unwrap();
        let others = from_values(vec![3.0, 8.0], (1, 1, 2)).unwrap();
        let sums = |a: f32, b: f32| from_values(vec![a.ln(), b.ln()], (1, 1, 2)).unwrap();
        let (own, other) = (sums(1.0, 3.0), sums(1.0, 1.0));
        let part = |tokens, sums| ScoredPart {
            part: Part { tokens, places: &[1], weights: &[0.5] },
            sums,
        };
        let y = blend_tokens(&[part(&tokens, &own), part(&others, &other)], 2, 2).unwrap();
        let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
        for (found, wanted) in y.iter().zip([0.0, 0.0, 2.0, 5.0]) {
            assert!((found - wanted).abs() < 1e-6, "{y:?}");
        }
        assert!(blend_tokens(&[part(&tokens, &own)], 1, 2).is_err());
        assert!(blend_tokens(&[part(&tokens, &own)], 2, 3).is_err());
        let mut short = part(&tokens, &own);
        short.part.weights = &[];
        assert!(blend_tokens(&[short], 2, 2).is_err());
        let mut silent = part(&tokens, &own);
        silent.part.weights = &[0.0];
        let y = blend_tokens(&[silent], 2, 2).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.0; 4]);
    }
}
