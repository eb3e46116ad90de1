//! Attention over tokens, never with more than a block of its scores in memory.

use candle_core::Tensor;

use crate::{
    NnError,
    kernels::{AttentionShape, Mask, kernels},
    tensor::{from_values, with_values},
};

/// `softmax(query · keyᵀ / √dim) · value` for each head (Vaswani et al. 2017, arXiv:1706.03762).
///
/// Shapes: `query` `(batch, queries, heads · dim)`, `key` and `value` `(batch, keys, heads · dim)`
/// → `(batch, queries, heads · dim)`.
///
/// # Errors
///
/// If the shapes don't fit, `heads` doesn't divide the channels, there are no keys, a mask is
/// given where queries and keys aren't the same tokens, or a tensor isn't `f32` on the CPU.
pub fn attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
    mask: Option<Mask<'_>>,
) -> Result<Tensor, NnError> {
    attend([query, key, value], heads, mask, None)
}

/// [`attention`] without a mask, and for each query and head the logarithm of the sum of its exponentiated scores, by which
/// several attentions of one query make one: [`blend_tokens`](crate::blend_tokens).
///
/// Shapes as there, and `(batch, queries, heads)`.
///
/// # Errors
///
/// As there.
pub fn attention_with_sums(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    heads: usize,
) -> Result<(Tensor, Tensor), NnError> {
    let (batch, queries, _) = query.dims3().map_err(NnError::from)?;
    let mut sums = vec![0.0; batch * queries * heads];
    let out = attend([query, key, value], heads, None, Some(&mut sums))?;
    Ok((out, from_values(sums, (batch, queries, heads))?))
}

fn attend(
    [query, key, value]: [&Tensor; 3],
    heads: usize,
    mask: Option<Mask<'_>>,
    sums: Option<&mut [f32]>,
) -> Result<Tensor, NnError> {
    let &[batch, queries, channels] = query.dims() else {
        return Err(NnError::shape(
            "query of attention",
            "(batch, tokens, channels)",
            query.dims(),
        ));
    };
    let keys = key.dims().get(1).copied().unwrap_or(0);
    for (what, x) in [("key of attention", key), ("value of attention", value)] {
        if x.dims() != [batch, keys, channels] || keys == 0 {
            let expected = format!("({batch}, {}, {channels})", keys.max(1));
            return Err(NnError::shape(what, expected, x.dims()));
        }
    }
    if heads == 0 || channels == 0 || !channels.is_multiple_of(heads) {
        let expected = format!("a divisor of {channels} channels");
        return Err(NnError::Setting { what: "heads of attention", expected, found: heads });
    }
    let masked = match mask {
        None => None,
        Some(Mask::Causal) => Some(queries),
        Some(Mask::Groups(groups)) => Some(groups.len()),
    };
    if masked.is_some_and(|tokens| tokens != queries || tokens != keys) {
        let expected = format!("of {queries} tokens for {queries} queries and as many keys");
        let found = masked.unwrap_or(0);
        return Err(NnError::Setting { what: "mask of attention", expected, found });
    }
    #[expect(clippy::integer_division, reason = "`heads` divides `channels`")]
    let shape = AttentionShape { batch, queries, keys, heads, dim: channels / heads };
    let mut out = vec![0.0; query.elem_count()];
    with_values(query, |query| {
        with_values(key, |key| {
            with_values(value, |value| {
                kernels().attention([query, key, value], shape, mask, &mut out, sums);
            })
        })
    })???;
    from_values(out, (batch, queries, channels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::testing::{assert_near, pseudo_random};

    /// Naive attention, with `allowed(query, key)`.
    fn reference(
        [query, key, value]: [&[f32]; 3],
        shape: AttentionShape,
        allowed: impl Fn(usize, usize) -> bool,
    ) -> Vec<f32> {
        let AttentionShape { batch, queries, keys, heads, dim } = shape;
        let channels = heads * dim;
        let scale = 1.0 / f32::from(u16::try_from(dim).unwrap()).sqrt();
        let mut out = vec![0.0; batch * queries * channels];
        for (b, head, q) in (0..batch)
            .flat_map(|b| (0..heads).flat_map(move |head| (0..queries).map(move |q| (b, head, q))))
        {
            let at = |tokens: usize, token: usize| (b * tokens + token) * channels + head * dim;
            let scores: Vec<f32> = (0..keys)
                .map(|k| {
                    let (q_at, k_at) = (at(queries, q), at(keys, k));
                    let dot: f32 = (0..dim).map(|c| query[q_at + c] * key[k_at + c]).sum();
                    if allowed(q, k) { (dot * scale).exp() } else { 0.0 }
                })
                .collect();
            let sum: f32 = scores.iter().sum();
            for c in 0..dim {
                let mixed: f32 = (0..keys).map(|k| scores[k] * value[at(keys, k) + c]).sum();
                out[at(queries, q) + c] = mixed / sum;
            }
        }
        out
    }

    #[track_caller]
    fn check(
        shape: AttentionShape,
        mask: Option<Mask<'_>>,
        allowed: impl Fn(usize, usize) -> bool,
    ) {
        let AttentionShape { batch, queries, keys, heads, dim } = shape;
        let larger = |x: Vec<f32>| x.into_iter().map(|x| 3.0 * x).collect::<Vec<f32>>();
        let query = larger(pseudo_random(batch * queries * heads * dim, 1));
        let key = larger(pseudo_random(batch * keys * heads * dim, 2));
        let value = pseudo_random(batch * keys * heads * dim, 3);
        let expected = reference([&query, &key, &value], shape, allowed);
        let query = from_values(query, (batch, queries, heads * dim)).unwrap();
        let key = from_values(key, (batch, keys, heads * dim)).unwrap();
        let value = from_values(value, (batch, keys, heads * dim)).unwrap();
        let y = attention(&query, &key, &value, heads, mask).unwrap();
        assert_near(&y, &expected);
    }

    const SMALL: AttentionShape =
        AttentionShape { batch: 2, queries: 5, keys: 5, heads: 3, dim: 4 };
    const LARGE: AttentionShape =
        AttentionShape { batch: 1, queries: 301, keys: 301, heads: 2, dim: 20 };

    #[test]
    fn every_query_mixes_the_values_by_its_scores() {
        check(SMALL, None, |_, _| true);
        check(LARGE, None, |_, _| true);
        check(AttentionShape { keys: 77, ..LARGE }, None, |_, _| true);
        check(AttentionShape { queries: 1, keys: 1, ..SMALL }, None, |_, _| true);
        check(AttentionShape { heads: 1, dim: 1, ..SMALL }, None, |_, _| true);
    }

    #[test]
    fn causal_attention_sees_no_later_token() {
        check(SMALL, Some(Mask::Causal), |q, k| k <= q);
        check(LARGE, Some(Mask::Causal), |q, k| k <= q);
    }

    #[test]
    fn groups_do_not_see_one_another_and_the_rest_is_free() {
        for shape in [SMALL, LARGE] {
            let groups: Vec<Option<usize>> =
                (0..shape.queries).map(|token| [None, Some(0), Some(7)][token * 5 % 3]).collect();
            check(shape, Some(Mask::Groups(&groups)), |q, k| {
                groups[q].is_none() || groups[k].is_none() || groups[q] == groups[k]
            });
        }
    }

    #[test]
    fn attentions_to_two_halves_are_one_by_their_sums() {
        let AttentionShape { queries, keys, heads, dim, .. } = LARGE;
        let sequence = |tokens: usize, seed: u32| {
            from_values(pseudo_random(tokens * heads * dim, seed), (1, tokens, heads * dim))
                .unwrap()
        };
        let (query, key, value) = (sequence(queries, 1), sequence(keys, 2), sequence(keys, 3));
        let whole = attention(&query, &key, &value, heads, None).unwrap();
        let part = |from: usize, count: usize| {
            let of = |it: &Tensor| it.narrow(1, from, count).unwrap().contiguous().unwrap();
            attention_with_sums(&query, &of(&key), &of(&value), heads).unwrap()
        };
        let (places, weights) = ((0..queries).collect::<Vec<_>>(), vec![1.0; queries]);
        let parts = [part(0, 77), part(77, keys - 77)];
        let parts = parts.each_ref().map(|(tokens, sums)| crate::ScoredPart {
            part: crate::Part { tokens, places: &places, weights: &weights },
            sums,
        });
        let blended = crate::blend_tokens(&parts, queries, heads * dim).unwrap();
        assert_near(&blended, &whole.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    }

    #[test]
    fn scores_may_be_large() {
        let one = |x: f32| from_values(vec![x, -x], (1, 2, 1)).unwrap();
        let y = attention(&one(1e4), &one(1e4), &one(1.0), 1, None).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [1.0, -1.0]);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let x = |tokens: usize| from_values(vec![0.0; tokens * 6], (1, tokens, 6)).unwrap();
        assert!(attention(&x(2), &x(3), &x(3), 2, None).is_ok());
        assert!(attention(&x(2), &x(3), &x(2), 2, None).is_err());
        assert!(attention(&x(2), &x(0), &x(0), 2, None).is_err());
        assert!(attention(&x(2), &x(3), &x(3), 2, Some(Mask::Causal)).is_err());
        assert!(attention(&x(2), &x(2), &x(2), 2, Some(Mask::Groups(&[None]))).is_err());
        let error = attention(&x(2), &x(3), &x(3), 4, None).unwrap_err();
        assert_eq!(error.to_string(), "heads of attention must be a divisor of 6 channels, got 4");
    }
}
