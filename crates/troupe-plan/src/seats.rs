//! How many people there are, and which of them the prompt states something of.

use troupe_core::brief::{Brief, Kind, MAXIMUM_SUBJECTS, Stated};
use troupe_core::plan::LoraTag;
use troupe_core::seed::Seed;

use crate::axes::{Axes, Meaning, shortened};
use crate::numbers::numbers;
use crate::phrase::clean;
use crate::words::key;

/// One picture whose brief is final.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureRequest {
    /// Which picture of the run this is, from 1.
    pub picture: u64,
    /// The prompt, without its LoRA tags.
    pub prompt: String,
    /// The LoRAs that the prompt asks for.
    pub loras: Vec<LoraTag>,
    /// What the language model read.
    pub brief: Brief,
    /// A number of people that overrules the brief.
    pub subjects: Option<u32>,
}

/// How many people there are where the prompt doesn't say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubjectRange {
    // Invariant: 1 ≤ minimum ≤ maximum ≤ MAXIMUM_SUBJECTS.
    pub(crate) minimum: u32,
    pub(crate) maximum: u32,
}

/// Why there is no cast for a picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A range that no number of people lies in.
    #[error(
        "wanted a range of people within 1 to {MAXIMUM_SUBJECTS}, and it is {minimum} to {maximum}"
    )]
    Range {
        /// The least.
        minimum: u32,
        /// The most.
        maximum: u32,
    },
    /// More people than a picture holds, or none.
    #[error("a picture holds 1 to {MAXIMUM_SUBJECTS} people, and {0} are asked for")]
    Number(u64),
    /// Fewer people than there are kinds.
    #[error(
        "the prompt names {kinds} kinds of people, and {subjects} can't be one of each; ask for {kinds} or more"
    )]
    Kinds {
        /// How many kinds the brief has.
        kinds: usize,
        /// How many people are asked for.
        subjects: u32,
    },
    /// A brief that breaks its own rules.
    #[error("not a valid brief: {0}")]
    Brief(String),
}

/// The people of one picture, before any dice are rolled for their values.
#[derive(Clone, Debug)]
pub(crate) struct Seating {
    pub(crate) seats: Vec<Seat>,
    /// For each kind of people and axis whether it applies to them.
    pub(crate) has: Vec<Vec<bool>>,
    /// For each axis the words that ask for variety on it, and of which kinds.
    pub(crate) mixed: Vec<Vec<Asked>>,
    pub(crate) notes: Vec<String>,
}

/// A word that asks for variety, and the kinds of people that it is said of.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) word: String,
    pub(crate) kinds: Vec<usize>,
}

/// One person.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) kind: usize,
    /// For each axis the value that the prompt states.
    pub(crate) stated: Vec<Option<usize>>,
    /// What is stated and no axis knows.
    pub(crate) also: Vec<String>,
}

impl SubjectRange {
    /// Takes a range of numbers of people.
    ///
    /// # Errors
    ///
    /// If it isn't within what a picture holds.
    pub fn new(minimum: u32, maximum: u32) -> Result<Self, PlanError> {
        if 1 <= minimum && minimum <= maximum && maximum <= MAXIMUM_SUBJECTS {
            Ok(Self { minimum, maximum })
        } else {
            Err(PlanError::Range { minimum, maximum })
        }
    }
}

/// Seats the people of a picture, and fixes what the prompt states of them.
pub(crate) fn seat(
    axes: &Axes,
    request: &PictureRequest,
    range: SubjectRange,
    seed: Seed,
) -> Result<Seating, PlanError> {
    request.brief.check().map_err(PlanError::Brief)?;
    let mut notes = Vec::new();
    let numbers = numbers(request, range, seed, &mut notes)?;
    let has = |kind: &Kind| {
        let noun = clean(&kind.noun);
        (0..axes.list.len()).map(|axis| axes.applies(axis, &noun)).collect()
    };
    let mut seating = Seating {
        seats: Vec::new(),
        has: request.brief.people.iter().map(has).collect(),
        mixed: vec![Vec::new(); axes.list.len()],
        notes,
    };
    for (index, (kind, number)) in request.brief.people.iter().zip(numbers).enumerate() {
        let first = seating.seats.len();
        let empty = Seat { kind: index, stated: vec![None; axes.list.len()], also: Vec::new() };
        seating.seats.extend((0..number).map(|_| empty.clone()));
        let place = Place { axes, kind, index, first, picture: request.picture, seed };
        place.state_all(&mut seating);
    }
    Ok(seating)
}

/// One kind of people in one picture.
struct Place<'a> {
    axes: &'a Axes,
    kind: &'a Kind,
    /// Which entry of the brief's people this is.
    index: usize,
    /// Its first seat; it has all from there on.
    first: usize,
    picture: u64,
    seed: Seed,
}

impl Place<'_> {
    /// What is stated of a number of people comes first, then what is stated of all fills what is left.
    fn state_all(&self, seating: &mut Seating) {
        let (of_some, of_all): (Vec<&Stated>, Vec<&Stated>) =
            self.kind.stated.iter().partition(|stated| stated.of.is_some());
        for stated in of_some.into_iter().chain(of_all) {
            self.state(seating, stated);
        }
        let noun = &self.kind.noun;
        let (found, elsewhere) = self.axes.meanings_of_noun(noun, &seating.has[self.index]);
        for (axis, value) in found {
            self.state_value(seating, noun, None, axis, value);
        }
        if !elsewhere.is_empty() {
            self.note_elsewhere(seating, noun, &elsewhere);
        }
    }

    fn state(&self, seating: &mut Seating, stated: &Stated) {
        let what = shortened(&stated.what);
        match self.axes.meaning(&stated.what, &seating.has[self.index]) {
            Meaning::Value(axis, value) => {
                self.state_value(seating, &stated.what, stated.of, axis, value);
            }
            Meaning::Mixed(axes) => {
                for axis in axes {
                    self.ask(seating, &what, axis);
                }
            }
            Meaning::Ambiguous(several) => {
                let names = self.names(&several);
                note(
                    seating,
                    format!(
                        "`{what}` could be a value of {names}; it stays in the sub-prompts as text"
                    ),
                );
                self.state_text(seating, stated);
            }
            Meaning::Elsewhere(axes) => {
                self.note_elsewhere(seating, &stated.what, &axes);
                self.state_text(seating, stated);
            }
            Meaning::Unknown => {
                note(
                    seating,
                    format!("no axis knows `{what}`; it stays in the sub-prompts as text"),
                );
                self.state_text(seating, stated);
            }
        }
    }

    /// The kind asks for variety on an axis.
    fn ask(&self, seating: &mut Seating, word: &str, axis: usize) {
        let asked = &mut seating.mixed[axis];
        match asked.iter_mut().find(|asked| asked.word == word) {
            Some(asked) => asked.kinds.push(self.index),
            None => asked.push(Asked { word: word.to_owned(), kinds: vec![self.index] }),
        }
        let name = &self.axes.list[axis].name;
        note(
            seating,
            format!("`{word}` asks for variety on `{name}`, and goes into no sub-prompt"),
        );
    }

    fn note_elsewhere(&self, seating: &mut Seating, what: &str, axes: &[usize]) {
        let (what, noun, names) = (shortened(what), shortened(&self.kind.noun), self.names(axes));
        let doesnt = if axes.len() == 1 { "doesn't" } else { "don't" };
        note(
            seating,
            format!(
                "`{what}` is of {names}, which {doesnt} apply to the kind `{noun}`; it stays in the sub-prompts as text"
            ),
        );
    }

    fn names(&self, axes: &[usize]) -> String {
        let names: Vec<String> =
            axes.iter().map(|&axis| format!("`{}`", self.axes.list[axis].name)).collect();
        names.join(" and ")
    }

    fn state_text(&self, seating: &mut Seating, stated: &Stated) {
        let text = clean(&stated.what);
        for seat in self.chosen(seating, &stated.what, stated.of, |_| true) {
            let also = &mut seating.seats[seat].also;
            if !text.is_empty() && !also.contains(&text) {
                also.push(text.clone());
            }
        }
    }

    fn state_value(
        &self,
        seating: &mut Seating,
        what: &str,
        of: Option<u32>,
        axis: usize,
        value: usize,
    ) {
        let free = |seat: &Seat| seat.stated[axis].is_none();
        let chosen = self.chosen(seating, what, of, free);
        for &seat in &chosen {
            seating.seats[seat].stated[axis] = Some(value);
        }
        let (name, noun) = (&self.axes.list[axis].name, shortened(&self.kind.noun));
        let what = shortened(what);
        let kind = &seating.seats[self.first..];
        let has = kind.iter().filter(|seat| seat.stated[axis] == Some(value)).count();
        let wanted = of.map_or(kind.len(), |of| kind.len().min(of as usize));
        if has < wanted {
            note(
                seating,
                format!(
                    "`{what}` is stated of {wanted} of the kind `{noun}`, and {has} have it: the others have another \
                     stated value of `{name}`"
                ),
            );
        }
    }

    /// The seats of which something is stated, among those that are free for it.
    fn chosen(
        &self,
        seating: &mut Seating,
        what: &str,
        of: Option<u32>,
        free: impl Fn(&Seat) -> bool,
    ) -> Vec<usize> {
        let mut seats: Vec<usize> = (self.first..seating.seats.len()).collect();
        let people = seats.len();
        if let Some(of) = of {
            if people < of as usize {
                let (what, noun) = (shortened(what), shortened(&self.kind.noun));
                note(
                    seating,
                    format!(
                        "`{what}` is stated of {of} of the kind `{noun}`, and there are {people}"
                    ),
                );
            }
            let name = format!("seats/{}/{}/{}", self.picture, self.index, key(what));
            self.seed.stream(&name).shuffle(&mut seats);
        }
        seats.retain(|&seat| free(&seating.seats[seat]));
        seats.truncate(of.map_or(people, |of| of as usize));
        seats
    }
}

/// Says something once.
fn note(seating: &mut Seating, text: String) {
    if !seating.notes.contains(&text) {
        seating.notes.push(text);
    }
}
