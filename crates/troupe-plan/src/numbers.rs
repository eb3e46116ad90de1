//! How many people of each kind there are.
//!
//! The number that a prompt says of a kind holds. Where it says none of some, the total is drawn evenly from the
//! configured range, by the picture's own stream, and the kinds without a number share evenly what the others leave;
//! who gets the odd one is drawn too. Of several kinds each of these has two people at least ("nurses and a doctor" are
//! more than one nurse): the draw is from the part of the range that gives them two, or is the range's end where even
//! that doesn't. Where the prompt's own numbers leave no room for two of each in the range, it is passed: "seven nurses and patients"
//! are nine people, whatever the range. A picture's twelve are never passed; each kind then has one at least.
//!
//! A number that the caller asks for is the total. The kinds without a number take what the prompt's numbers leave of
//! it; if nothing is left for one of them, or if every kind has a number, the numbers are scaled: divided as the prompt
//! divides them, at least one each, ties by lot.

use troupe_core::brief::{Kind, MAXIMUM_SUBJECTS};
use troupe_core::seed::{Seed, Stream};

use crate::seats::{PictureRequest, PlanError, SubjectRange};

/// How many people of each kind there are.
pub(crate) fn numbers(
    request: &PictureRequest,
    range: SubjectRange,
    seed: Seed,
    notes: &mut Vec<String>,
) -> Result<Vec<u32>, PlanError> {
    let kinds = &request.brief.people;
    let said: u32 = kinds.iter().filter_map(|kind| kind.number).sum();
    let open = kinds.iter().filter(|kind| kind.number.is_none()).fold(0, |open, _| open + 1);
    let least = said + open;
    let mut stream = seed.stream(&format!("subjects/{}", request.picture));
    if let Some(subjects) = request.subjects {
        if !(1..=MAXIMUM_SUBJECTS).contains(&subjects) {
            return Err(PlanError::Number(u64::from(subjects)));
        }
        if (subjects as usize) < kinds.len() {
            return Err(PlanError::Kinds { kinds: kinds.len(), subjects });
        }
        if 0 < open && least <= subjects {
            return Ok(filled(kinds, subjects, &mut stream));
        }
        if least != subjects {
            let more = if open == 0 { "" } else { " and others" };
            notes.push(format!(
                "the prompt says {said} people{more}; the number asked for, {subjects}, overrules it"
            ));
        }
        return Ok(scaled(kinds, subjects, &mut stream));
    }
    if MAXIMUM_SUBJECTS < least {
        return Err(PlanError::Number(u64::from(least)));
    }
    let wanted = if kinds.len() == 1 { least } else { said + 2 * open }.min(MAXIMUM_SUBJECTS);
    let most = range.maximum.max(if said == 0 { least } else { wanted });
    let fewest = wanted.clamp(range.minimum.max(least).min(most), most);
    let drawn = u64::from(fewest) + stream.below(u64::from(most - fewest) + 1);
    let total = u32::try_from(drawn).unwrap_or(fewest);
    Ok(filled(kinds, total, &mut stream))
}

/// The numbers that are said; the kinds without one have one each, and share evenly what is left of the total.
fn filled(kinds: &[Kind], total: u32, stream: &mut Stream) -> Vec<u32> {
    let mut numbers: Vec<u32> = kinds.iter().map(|kind| kind.number.unwrap_or(1)).collect();
    let mut takers: Vec<usize> =
        (0..kinds.len()).filter(|&at| kinds[at].number.is_none()).collect();
    stream.shuffle(&mut takers);
    let least: u32 = numbers.iter().sum();
    for (&taker, _) in takers.iter().cycle().zip(least..total) {
        numbers[taker] += 1;
    }
    numbers
}

/// Divides a number of people among kinds as the prompt does, at least one each; a kind without a number counts as one.
fn scaled(kinds: &[Kind], subjects: u32, stream: &mut Stream) -> Vec<u32> {
    let weights: Vec<u32> = kinds.iter().map(|kind| kind.number.unwrap_or(1)).collect();
    let total: u32 = weights.iter().sum();
    let mut numbers = vec![1; kinds.len()];
    let mut order: Vec<usize> = (0..kinds.len()).collect();
    stream.shuffle(&mut order);
    // Each further person goes to the kind that lacks most, in parts of a person over the total.
    for _ in kinds.len()..subjects as usize {
        let lack = |at: &&usize| {
            i64::from(weights[**at]) * i64::from(subjects)
                - i64::from(numbers[**at]) * i64::from(total)
        };
        if let Some(&at) = order.iter().max_by_key(lack) {
            numbers[at] += 1;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use troupe_core::brief::Brief;

    use super::*;

    fn request(said: &[Option<u32>], picture: u64, subjects: Option<u32>) -> PictureRequest {
        let kind =
            |&number: &Option<u32>| Kind { number, noun: "person".to_owned(), stated: Vec::new() };
        let brief = Brief::of(said.iter().map(kind).collect());
        PictureRequest { picture, prompt: String::new(), loras: Vec::new(), brief, subjects }
    }

    /// Every outcome over many pictures, and whether it was noted that the prompt was overruled.
    #[track_caller]
    fn check(
        said: &[Option<u32>],
        (minimum, maximum): (u32, u32),
        subjects: Option<u32>,
        expected: &[&[u32]],
    ) -> bool {
        let range = SubjectRange::new(minimum, maximum).unwrap();
        let mut notes = Vec::new();
        let mut found: Vec<Vec<u32>> = (1..=300)
            .map(|at| numbers(&request(said, at, subjects), range, Seed(1), &mut notes).unwrap())
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found, expected, "{said:?}");
        !notes.is_empty()
    }

    #[test]
    fn kinds_without_a_number_share_what_the_range_leaves() {
        check(&[Some(3), Some(2)], (3, 6), None, &[&[3, 2]]);
        check(&[None], (3, 4), None, &[&[3], &[4]]);
        check(&[Some(1), None], (3, 6), None, &[&[1, 2], &[1, 3], &[1, 4], &[1, 5]]);
        // Two each where the range has them, and the odd one by lot.
        check(&[None, None], (3, 6), None, &[&[2, 2], &[2, 3], &[3, 2], &[3, 3]]);
        check(&[None, None], (2, 2), None, &[&[1, 1]]);
        let four = [[1, 1, 2], [1, 2, 1], [2, 1, 1]];
        check(&[None; 3], (3, 4), None, &four.each_ref().map(|it| &it[..]));
        check(&[None; 3], (1, 2), None, &[&[1, 1, 1]]);
    }

    #[test]
    fn what_the_prompt_says_passes_the_range() {
        check(&[Some(7), None], (3, 6), None, &[&[7, 2]]);
        check(&[Some(5), None], (3, 6), None, &[&[5, 2]]);
        check(&[Some(11), None], (3, 6), None, &[&[11, 1]]);
        check(&[Some(9)], (3, 6), None, &[&[9]]);
        let range = SubjectRange::new(3, 6).unwrap();
        let full = numbers(&request(&[Some(12), None], 1, None), range, Seed(1), &mut Vec::new());
        assert_eq!(full, Err(PlanError::Number(13)));
    }

    #[test]
    fn a_number_that_is_asked_for_fills_the_kinds_without_one_first() {
        assert!(!check(&[Some(3), None], (3, 6), Some(8), &[&[3, 5]]));
        assert!(!check(&[None, None], (3, 6), Some(7), &[&[3, 4], &[4, 3]]));
        assert!(!check(&[Some(3), Some(2)], (3, 6), Some(5), &[&[3, 2]]));
        assert!(check(&[Some(3), Some(2)], (3, 6), Some(10), &[&[6, 4]]));
        // Nothing is left for the second: both are scaled.
        assert!(check(&[Some(6), None], (3, 6), Some(5), &[&[4, 1]]));
        assert!(check(&[Some(1), Some(1)], (3, 6), Some(3), &[&[1, 2], &[2, 1]]));
    }

    proptest! {
        #[test]
        fn everybody_is_counted_once(
            said in prop::collection::vec(prop::option::of(1..=12_u32), 1..=6), minimum in 1..=12_u32, more in 0..=11_u32,
            asked in prop::option::of(1..=12_u32), picture: u64, seed: u64,
        ) {
            let range = SubjectRange::new(minimum, (minimum + more).min(12)).unwrap();
            let sum: u32 = said.iter().flatten().sum();
            let open = u32::try_from(said.iter().filter(|it| it.is_none()).count()).unwrap();
            let mut notes = Vec::new();
            let request = request(&said, picture, asked);
            match numbers(&request, range, Seed(seed), &mut notes) {
                Err(PlanError::Kinds { kinds, subjects }) => prop_assert!((subjects as usize) < kinds),
                Err(_) => prop_assert!(asked.is_none() && 12 < sum + open),
                Ok(numbers) => {
                    let total: u32 = numbers.iter().sum();
                    prop_assert!(numbers.iter().all(|&it| 1 <= it) && total <= 12);
                    if let Some(asked) = asked {
                        prop_assert_eq!(total, asked);
                    }
                    if asked.is_none_or(|asked| 0 < open && sum + open <= asked) {
                        let kept = said.iter().zip(&numbers).all(|(said, it)| said.is_none_or(|said| said == *it));
                        prop_assert!(kept && notes.is_empty());
                    }
                    let drawn = || said.iter().zip(&numbers).filter(|(said, _)| said.is_none()).map(|(_, it)| *it);
                    if let (Some(most), Some(least)) = (drawn().max(), drawn().min()) {
                        prop_assert!(most - least <= 1 || sum + open > asked.unwrap_or(12), "{:?}", numbers);
                    }
                    if asked.is_none() && sum == 0 {
                        prop_assert!((range.minimum..=range.maximum.max(open)).contains(&total));
                    }
                }
            }
        }
    }
}
