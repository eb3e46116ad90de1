//! Ways to paint a group, held against one another: the same plans, boxes and noise, scored by the second judge.
//!
//! `cargo bench -p troupe --bench regions -- [--pictures 64] [--out target/regions] [--model M] [METHOD…]`
//!
//! What is there is not painted again, so that an interrupted benchmark goes on. `README.md` says what each method is.

#![expect(clippy::unwrap_used, reason = "a benchmark fails where what it needs is missing")]
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod method;
mod score;

use std::fs;
use std::path::{Path, PathBuf};

use self::method::{Bench, METHODS};
use self::score::table;

/// Whom the starter painter knows, in the plural, and where.
const GROUPS: [(&str, &str); 12] = [
    ("doctors", "in a hospital"),
    ("chefs", "in a kitchen"),
    ("firefighters", "in a city"),
    ("farmers", "on a farm"),
    ("students", "in a classroom"),
    ("scientists", "in an office"),
    ("judges", "in an office"),
    ("mechanics", "in a city"),
    ("artists", "in a park"),
    ("police officers", "in a city"),
    ("construction workers", "in a desert"),
    ("wizards", "in a forest"),
];
const NUMBERS: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];

/// What the command line asks for.
struct Wanted {
    pictures: usize,
    out: PathBuf,
    model: Option<String>,
    methods: Vec<&'static str>,
}

fn main() {
    let mut wanted = wanted();
    fs::create_dir_all(&wanted.out).unwrap();
    // The program is run in there.
    wanted.out = wanted.out.canonicalize().unwrap();
    let path = wanted.model.as_deref().and_then(|model| fs::canonicalize(model).ok());
    if let Some(path) = path {
        wanted.model = Some(path.display().to_string());
    }
    let prompts: Vec<String> = (0..wanted.pictures).map(prompt).collect();
    let file = wanted.out.join("prompts.txt");
    fs::write(&file, prompts.join("\n")).unwrap();
    let bench = Bench::new(&wanted.out, wanted.model.as_deref());
    bench.run(&file);
    let pictures: Vec<PathBuf> = bench.pictures();
    let mut rows = Vec::new();
    for method in wanted.methods {
        let scored = pictures.iter().flat_map(|folder| bench.scored(method, folder));
        rows.push((method, scored.collect::<Vec<_>>()));
    }
    let table = table(&rows);
    fs::write(wanted.out.join("table.md"), &table).unwrap();
    println!("{table}");
}

/// One to eight people of one kind, every number as often as every other; ninety-six of them repeat nothing.
fn prompt(at: usize) -> String {
    let number = at % NUMBERS.len();
    let (people, place) = GROUPS[(at.div_euclid(NUMBERS.len()) + 5 * number) % GROUPS.len()];
    let people = if number == 0 { people.trim_end_matches('s') } else { people };
    format!("{} {people} {place}", NUMBERS[number])
}

fn wanted() -> Wanted {
    let mut wanted = Wanted {
        pictures: 64,
        out: Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/regions"),
        model: None,
        methods: Vec::new(),
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--pictures" => wanted.pictures = words.next().unwrap().parse().unwrap(),
            "--out" => wanted.out = words.next().unwrap().into(),
            "--model" => wanted.model = words.next(),
            name => {
                let known = METHODS.iter().find(|method| **method == name);
                assert!(known.is_some(), "wanted one of {METHODS:?}, not {name}");
                wanted.methods.extend(known);
            }
        }
    }
    if wanted.methods.is_empty() {
        wanted.methods = METHODS.to_vec();
    }
    wanted
}
