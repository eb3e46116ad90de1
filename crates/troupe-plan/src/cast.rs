//! Who is in each picture of a batch: exact quotas, rounded and dealt.
//!
//! Axes are cast one after another, each after those that its conditions name. On each axis the people of a picture fall
//! into cells, one for each condition that is the first to hold for somebody and one where none holds. A cell's free
//! seats are divided as the module `quota` says; the quotas are rounded over the picture or over the batch, and
//! what they come to is dealt in a shuffled order. A cell of scope `batch` is rounded over all pictures that have it.
//! An axis with `applies_to` knows of nobody else: who isn't of these kinds is in none of its cells and gets no value.
//! Where a kind is to be varied, two of it differ wherever what was dealt to the picture lets two of it differ.

use troupe_core::axis::Scope;
use troupe_core::document::Document;
use troupe_core::plan::{Assigned, Manner, ScenePlan, Subject};
use troupe_core::seed::{Seed, Stream};

use crate::axes::{Axes, CheckedAxis, shortened};
use crate::quota::Quotas;
pub use crate::seats::{PictureRequest, PlanError, SubjectRange};
use crate::seats::{Seating, seat};
use crate::{batch, image, phrase, proof};

/// The casts of a batch. Kept small; a picture's plan is written when it is asked for.
#[derive(Debug)]
pub struct Cast<'a> {
    axes: &'a Axes,
    seed: Seed,
    pictures: Vec<Option<Picture<'a>>>,
    /// Pictures that have no cast although they have a brief: their place in the list, and why.
    pub refused: Vec<(usize, PlanError)>,
}

/// One picture while it is cast.
#[derive(Debug)]
struct Picture<'a> {
    request: &'a PictureRequest,
    seating: Seating,
    /// For each seat and axis the value; none before it is dealt, and where the axis doesn't apply.
    values: Vec<Vec<Option<usize>>>,
    /// For each axis the cells.
    records: Vec<Vec<Record>>,
}

/// What happened in one cell.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    /// Which of the axis's lists of shares holds.
    pub(crate) list: usize,
    pub(crate) people: u32,
    pub(crate) stated: Vec<u32>,
    pub(crate) quotas: Quotas,
    pub(crate) dealt: Vec<u32>,
    /// Sums over the pictures before, of scope `batch` only.
    pub(crate) before: Option<Before>,
}

/// Sums over the pictures before one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    pub(crate) quota: Vec<u128>,
    pub(crate) dealt: Vec<u64>,
}

/// Casts a batch: an ordered list of pictures whose briefs are final, `None` where there is none.
///
/// A function of its arguments alone. What has no brief, or can't have a cast, holds no seats.
pub fn cast<'a>(
    axes: &'a Axes,
    seed: Seed,
    requests: &'a [Option<PictureRequest>],
    range: SubjectRange,
) -> Cast<'a> {
    let mut pictures = Vec::with_capacity(requests.len());
    let mut refused = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let seated = request.as_ref().map(|request| (request, seat(axes, request, range, seed)));
        pictures.push(match seated {
            None => None,
            Some((_, Err(why))) => {
                refused.push((index, why));
                None
            }
            Some((request, Ok(seating))) => {
                let values = vec![vec![None; axes.list.len()]; seating.seats.len()];
                Some(Picture {
                    request,
                    seating,
                    values,
                    records: vec![Vec::new(); axes.list.len()],
                })
            }
        });
    }
    let mut cast = Cast { axes, seed, pictures, refused };
    for &axis in &axes.order {
        cast.axis(axis);
    }
    cast
}

impl Cast<'_> {
    /// How many pictures were asked for, with or without a cast.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// Whether no picture was asked for.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }

    /// The plan of the picture at this place in the list; `None` if it has no cast.
    pub fn plan(&self, index: usize) -> Option<ScenePlan> {
        let picture = self.pictures.get(index)?.as_ref()?;
        Some(picture.plan(self.axes, self.seed))
    }

    /// The plans of all pictures, each made when it is asked for.
    pub fn plans(&self) -> impl Iterator<Item = Option<ScenePlan>> {
        (0..self.len()).map(|index| self.plan(index))
    }

    fn axis(&mut self, axis: usize) {
        let checked = &self.axes.list[axis];
        for picture in self.pictures.iter_mut().flatten() {
            picture.open_cells(axis, checked);
        }
        for list in 0..checked.shares.len() {
            self.round(axis, list);
        }
        for picture in self.pictures.iter_mut().flatten() {
            picture.deal(axis, checked, self.seed);
        }
    }

    /// Rounds the quotas of one list of shares in all pictures.
    fn round(&mut self, axis: usize, list: usize) {
        let checked = &self.axes.list[axis];
        let grid = checked.shares[list].grid;
        let stream = proof::stream(checked, list);
        let mut cells: Vec<(u64, &mut Record)> = Vec::new();
        for picture in self.pictures.iter_mut().flatten() {
            let index = picture.request.picture;
            cells.extend(
                picture.records[axis].iter_mut().filter(|it| it.list == list).map(|it| (index, it)),
            );
        }
        match checked.scope {
            Scope::Image => {
                for (picture, record) in cells {
                    let mut stream = self.seed.stream(&format!("{stream}/{picture}"));
                    record.dealt = image::round(&record.quotas.quota, grid, &mut stream);
                }
            }
            Scope::Batch => {
                let quotas: Vec<&[u64]> =
                    cells.iter().map(|(_, record)| record.quotas.quota.as_slice()).collect();
                let counts = batch::round(&quotas, grid, &mut self.seed.stream(&stream));
                let values = checked.values.len();
                let mut before = Before { quota: vec![0; values], dealt: vec![0; values] };
                for ((_, record), dealt) in cells.into_iter().zip(counts) {
                    record.before = Some(before.clone());
                    for (sum, &quota) in before.quota.iter_mut().zip(&record.quotas.quota) {
                        *sum += u128::from(quota);
                    }
                    for (sum, &dealt) in before.dealt.iter_mut().zip(&dealt) {
                        *sum += u64::from(dealt);
                    }
                    record.dealt = dealt;
                }
            }
        }
    }
}

impl Picture<'_> {
    /// Which list of shares holds for a seat; none where the axis doesn't apply.
    fn list(&self, axis: usize, checked: &CheckedAxis, seat: usize) -> Option<usize> {
        if !self.seating.has[self.seating.seats[seat].kind][axis] {
            return None;
        }
        let holds =
            |given: &crate::axes::Condition| self.values[seat][given.axis] == Some(given.value);
        Some(checked.given.iter().position(holds).unwrap_or(checked.given.len()))
    }

    /// The same for every seat.
    fn lists(&self, axis: usize, checked: &CheckedAxis) -> Vec<Option<usize>> {
        (0..self.values.len()).map(|seat| self.list(axis, checked, seat)).collect()
    }

    fn open_cells(&mut self, axis: usize, checked: &CheckedAxis) {
        let mixed = !self.seating.mixed[axis].is_empty();
        let lists = self.lists(axis, checked);
        for (list, shares) in checked.shares.iter().enumerate() {
            let mut stated = vec![0; checked.values.len()];
            let mut people = 0;
            for seat in (0..lists.len()).filter(|&seat| lists[seat] == Some(list)) {
                people += 1;
                if let Some(value) = self.seating.seats[seat].stated[axis] {
                    stated[value] += 1;
                }
            }
            if people == 0 {
                continue;
            }
            let quotas = shares.quotas(people, &stated, mixed);
            self.note_conflicts(checked, list, &stated, &quotas);
            let dealt = Vec::new();
            self.records[axis].push(Record { list, people, stated, quotas, dealt, before: None });
        }
    }

    fn note_conflicts(
        &mut self,
        checked: &CheckedAxis,
        list: usize,
        stated: &[u32],
        quotas: &Quotas,
    ) {
        let grid = checked.shares[list].grid;
        let whose =
            checked.given.get(list).map_or(String::new(), |it| format!(" where {}", it.label));
        for (value, &stated) in stated.iter().enumerate() {
            if quotas.target[value] < u64::from(stated) * grid {
                let due = proof::people(u128::from(quotas.target[value]), grid);
                let (axis, value) = (&checked.name, &checked.values[value].name);
                self.seating.notes.push(format!(
                    "`{value}` on `{axis}`{whose} is stated of {stated}, more than the {due} that are due; no other \
                     picture makes up for it"
                ));
            }
        }
    }

    /// Gives the free seats of each cell their values, in a shuffled order.
    fn deal(&mut self, axis: usize, checked: &CheckedAxis, seed: Seed) {
        let mut stream = seed.stream(&format!("deal/{}/{}", checked.name, self.request.picture));
        let lists = self.lists(axis, checked);
        for record in &self.records[axis] {
            let mut hand: Vec<usize> = Vec::new();
            for (value, (&dealt, &stated)) in record.dealt.iter().zip(&record.stated).enumerate() {
                hand.extend((stated..dealt).map(|_| value));
            }
            stream.shuffle(&mut hand);
            for seat in (0..lists.len()).filter(|&seat| lists[seat] == Some(record.list)) {
                let stated = self.seating.seats[seat].stated[axis];
                self.values[seat][axis] = stated.or_else(|| hand.pop());
            }
        }
        let asked = self.seating.mixed[axis].clone();
        let mut kinds: Vec<usize> = asked.iter().flat_map(|it| it.kinds.clone()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        for &kind in &kinds {
            self.vary(kind, &kinds, axis, &lists, &mut stream);
        }
        for (asked, kind) in asked.iter().flat_map(|it| it.kinds.iter().map(move |kind| (it, kind)))
        {
            if !self.varies(*kind, axis) {
                let noun = shortened(&self.request.brief.people[*kind].noun);
                self.seating.notes.push(format!(
                    "`{}` asks for variety of the kind `{noun}` on `{}`, and this picture can't have it",
                    asked.word, checked.name
                ));
            }
        }
    }

    /// Whether two people of a kind differ on an axis.
    fn varies(&self, kind: usize, axis: usize) -> bool {
        let mut values = self.of(kind).map(|seat| self.values[seat][axis]);
        let first = values.next();
        values.any(|value| Some(value) != first)
    }

    /// The seats of a kind.
    fn of(&self, kind: usize) -> impl Iterator<Item = usize> {
        let seats = self.seating.seats.iter().enumerate();
        seats.filter(move |(_, seat)| seat.kind == kind).map(|(at, _)| at)
    }

    /// If all of a kind that is to be varied have one value, exchanges one of theirs with somebody of another kind for whom
    /// the same shares hold. The picture's counts stay; a kind that is to be varied too isn't made uniform by it.
    fn vary(
        &mut self,
        kind: usize,
        varied: &[usize],
        axis: usize,
        lists: &[Option<usize>],
        stream: &mut Stream,
    ) {
        if self.of(kind).count() < 2 || self.varies(kind, axis) {
            return;
        }
        let free = |seat: &usize| self.seating.seats[*seat].stated[axis].is_none();
        let mut swaps: Vec<(usize, usize)> = Vec::new();
        for own in self.of(kind).filter(free) {
            for other in (0..lists.len()).filter(free) {
                let (same, differ) = (
                    lists[own].is_some() && lists[own] == lists[other],
                    self.values[own][axis] != self.values[other][axis],
                );
                let theirs = self.seating.seats[other].kind;
                let value = self.values[own][axis];
                let spoils = varied.contains(&theirs)
                    && self.of(theirs).all(|it| it == other || self.values[it][axis] == value);
                if same && differ && !spoils {
                    swaps.push((own, other));
                }
            }
        }
        let drawn = stream.below(swaps.len() as u64);
        if let Some(&(own, other)) = usize::try_from(drawn).ok().and_then(|at| swaps.get(at)) {
            let (mine, theirs) = (self.values[own][axis], self.values[other][axis]);
            self.values[own][axis] = theirs;
            self.values[other][axis] = mine;
        }
    }

    fn plan(&self, axes: &Axes, seed: Seed) -> ScenePlan {
        let brief = self.request.brief.clone();
        let subject = |(index, seat): (usize, &crate::seats::Seat)| Subject {
            id: format!("s{}", index + 1),
            kind: seat.kind,
            noun: phrase::clean(&brief.people[seat.kind].noun),
            values: axes
                .list
                .iter()
                .enumerate()
                .filter_map(|(axis, checked)| {
                    let value = self.values[index][axis]?;
                    Some(Assigned {
                        axis: checked.name.clone(),
                        value: checked.values[value].name.clone(),
                        stated: seat.stated[axis].is_some(),
                    })
                })
                .collect(),
            also: seat.also.clone(),
            loras: Vec::new(),
            paint: Manner::default(),
            sub_prompt: String::new(),
            edited: false,
        };
        let subjects: Vec<Subject> = self.seating.seats.iter().enumerate().map(subject).collect();
        let proofs = axes.list.iter().zip(&self.records).zip(&self.seating.mixed);
        let mut plan = ScenePlan {
            schema: ScenePlan::SCHEMA.to_owned(),
            prompt: self.request.prompt.clone(),
            loras: self.request.loras.clone(),
            picture: self.request.picture,
            run_seed: seed,
            seed: seed.picture(self.request.picture),
            edited: false,
            base_prompt: phrase::base_prompt(&brief, &subjects),
            subjects,
            axes: proofs
                .map(|((axis, records), mixed)| proof::prove(axis, records, mixed))
                .collect(),
            notes: self.seating.notes.clone(),
            brief,
        };
        let texts: Vec<String> =
            plan.subjects.iter().map(|subject| phrase::sub_prompt(&plan, subject)).collect();
        for (subject, text) in plan.subjects.iter_mut().zip(texts) {
            subject.sub_prompt = text;
        }
        plan
    }
}
