//! Models pulled from a hub that may cut, lie and lead elsewhere, into a cache that holds only what is right.

#![expect(clippy::unwrap_used, reason = "a test may fail where its own files do")]

mod choice;
mod fake;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use troupe_models::hash::sha256;
use troupe_pipeline::manifest::Manifest;
use troupe_pipeline::pull::{HubSettings, PullError, Pulled, Request, connect, pull};
use troupe_pipeline::{Progress, Talk};

use self::fake::{COMMIT, Fake, UNET, blob, painter};

/// Says stop once so many bytes of a file are there.
#[derive(Default)]
struct Listener {
    stop_at: Option<u64>,
    stopped: bool,
}

impl Talk for Listener {
    fn note(&mut self, _text: &str) {}

    fn progress(&mut self, progress: Progress) {
        if let Progress::Fetching { bytes, .. } = progress {
            self.stopped |= self.stop_at.is_some_and(|at| at <= bytes);
        }
    }

    fn stopped(&self) -> bool {
        self.stopped
    }
}

/// What the painter reads of it.
const READ: [&str; 10] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    UNET,
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
];

fn request(address: &str) -> Request {
    Request { address: address.to_owned(), pins: BTreeMap::new(), variant: None }
}

fn pulled(hub: &mut Fake, cache: &Path) -> Result<Pulled, PullError> {
    pull(hub, cache, &request("hf:org/name"), &mut Listener::default())
}

fn repository(cache: &Path) -> PathBuf {
    cache.join("models--org--name")
}

/// Every file below a folder, by its path from there; links by what they lead to.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// What isn't whole, by its bytes.
fn unfinished(cache: &Path) -> Vec<Vec<u8>> {
    let found = files(&repository(cache)).into_iter();
    found.filter(|(name, _)| name.contains(".troupe-")).map(|(_, bytes)| bytes).collect()
}

/// Nothing is said of a commit, and no blob is there that the hub didn't mean.
#[track_caller]
fn says_nothing(cache: &Path) {
    for (name, bytes) in files(&repository(cache)) {
        assert!(name.starts_with("blobs/"), "{name} is there");
        let whole = &name["blobs/".len()..];
        let known = [sha256(&bytes), blob(&bytes)].iter().any(|it| it == whole);
        assert!(known || whole.starts_with(".troupe-"), "{name} isn't what its name says");
    }
}

#[test]
fn a_painter_is_pulled_as_the_hub_lays_it_out_and_nothing_else() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = painter();
    let first = pulled(&mut hub, cache.path()).unwrap();
    let folder = repository(cache.path());
    assert_eq!(first.path, folder.join("snapshots").join(COMMIT));
    let mut paths: Vec<&str> = first.files.iter().map(|it| it.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, READ);
    assert!(first.files.iter().all(|it| it.fetched && it.bytes == 1000));
    for (path, bytes) in files(&first.path) {
        assert_eq!(bytes, hub.files[&path]);
        let link = fs::read_link(first.path.join(&path)).unwrap();
        let name = if path.ends_with(".safetensors") { sha256(&bytes) } else { blob(&bytes) };
        let up = "../".repeat(path.split('/').count() + 1);
        assert_eq!(link, Path::new(&format!("{up}blobs/{name}")), "{path}");
    }
    assert_eq!(fs::read_to_string(folder.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(files(&folder).len(), 2 * READ.len() + 1, "{:?}", files(&folder).keys());
    assert_eq!(files(cache.path()).len(), 2 * READ.len() + 1);
    let manifest = Manifest { hub: Some(cache.path().to_owned()), ..Manifest::default() };
    assert_eq!(manifest.painter("hf:org/name").unwrap().path, first.path);

    // A second time nothing is fetched, and what is broken is mended.
    hub.log.clear();
    assert!(pulled(&mut hub, cache.path()).unwrap().files.iter().all(|it| !it.fetched));
    assert_eq!(hub.log, []);
    fs::write(folder.join("blobs").join(sha256(&hub.files[UNET])), vec![0; 1000]).unwrap();
    pulled(&mut hub, cache.path()).unwrap();
    assert_eq!(hub.log, [(UNET.to_owned(), 0)]);
    assert_eq!(fs::read(first.path.join(UNET)).unwrap(), hub.files[UNET]);
}

#[test]
fn other_bytes_than_the_hub_lists_are_thrown_away() {
    for path in [UNET, "tokenizer/merges.txt"] {
        let cache = tempfile::tempdir().unwrap();
        let mut hub = Fake { lies_about: Some(path.to_owned()), ..painter() };
        let error = pulled(&mut hub, cache.path()).unwrap_err();
        assert!(error.to_string().contains(path) && error.exit_code() == 3, "{error}");
        assert!(error.to_string().contains("another file than the hub lists"), "{error}");
        says_nothing(cache.path());
        assert_eq!(unfinished(cache.path()), [[0_u8; 0]; 0]);
    }
}

#[test]
fn more_bytes_than_the_hub_lists_are_not_taken() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = Fake { longer: 1 << 20, ..painter() };
    let error = pulled(&mut hub, cache.path()).unwrap_err();
    let says = format!("more bytes came than the 1000 of `{UNET}`");
    assert!(error.to_string().contains(&says) && error.exit_code() == 3, "{error}");
    assert!(hub.taken <= 1000 * READ.len(), "{} bytes were taken", hub.taken);
    assert_eq!(unfinished(cache.path()), [[0_u8; 0]; 0]);
}

#[test]
fn another_file_than_the_manifest_means_is_not_used() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = painter();
    let right = sha256(&hub.files[UNET]);
    let pinned = |hash: &str| Request {
        pins: [(UNET.to_owned(), hash.to_owned())].into_iter().collect(),
        ..request("hf:org/name")
    };
    let mut listener = Listener::default();
    let wrong = pinned(&"0".repeat(64));
    for _ in 0..2 {
        let error = pull(&mut hub, cache.path(), &wrong, &mut listener).unwrap_err();
        assert!(error.to_string().contains(&right) && error.exit_code() == 3, "{error}");
        says_nothing(cache.path());
    }
    pull(&mut hub, cache.path(), &pinned(&right), &mut listener).unwrap();
    // It is held to the hash also where it is there already.
    let error = pull(&mut hub, cache.path(), &wrong, &mut listener).unwrap_err();
    assert!(matches!(error, PullError::Pin { .. }), "{error}");
}

#[test]
fn a_file_that_is_cut_goes_on_where_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = Fake { cuts: vec![250, 400], ..painter() };
    pulled(&mut hub, cache.path()).unwrap();
    let asked: Vec<u64> =
        hub.log.iter().filter(|(path, _)| path == UNET).map(|(_, from)| *from).collect();
    assert_eq!(asked, [0, 400, 650]);

    // A hub that says nothing more isn't asked for ever; a later call goes on.
    let cache = tempfile::tempdir().unwrap();
    let mut hub = Fake { cuts: vec![0, 300], ..painter() };
    let error = pulled(&mut hub, cache.path()).unwrap_err();
    assert!(error.to_string().contains("ended after 300 of its 1000 bytes (a cut)"), "{error}");
    assert_eq!(error.exit_code(), 3);
    says_nothing(cache.path());
    assert_eq!(unfinished(cache.path()), [hub.files[UNET][..300].to_vec()]);
    hub.log.clear();
    pulled(&mut hub, cache.path()).unwrap();
    assert_eq!(hub.log[0], (UNET.to_owned(), 300));
    assert_eq!(unfinished(cache.path()), [[0_u8; 0]; 0]);
}

#[test]
fn what_is_left_of_another_time_may_be_wrong() {
    let place = |hub: &Fake, cache: &Path| {
        let mut hub = Fake { cuts: vec![0, 300], ..hub.clone() };
        pulled(&mut hub, cache).unwrap_err();
        let blobs = repository(cache).join("blobs");
        let names = fs::read_dir(blobs).unwrap().map(|it| it.unwrap().path());
        names.into_iter().find(|it| it.display().to_string().contains(".troupe-")).unwrap()
    };
    for (left, asked) in [(vec![7; 300], vec![300, 0]), (vec![7; 3000], vec![0]), (vec![], vec![0])]
    {
        let cache = tempfile::tempdir().unwrap();
        let mut hub = painter();
        fs::write(place(&hub, cache.path()), left).unwrap();
        pulled(&mut hub, cache.path()).unwrap();
        let from = hub.log.iter().filter(|(path, _)| path == UNET).map(|(_, from)| *from);
        assert_eq!(from.collect::<Vec<u64>>(), asked);
    }
    // A hub that always begins at the first byte.
    let cache = tempfile::tempdir().unwrap();
    let mut hub = Fake { ignores_offsets: true, ..painter() };
    place(&hub, cache.path());
    let unet = pulled(&mut hub, cache.path()).unwrap().path.join(UNET);
    assert_eq!(fs::read(unet).unwrap(), hub.files[UNET]);
    // Another program that is at the same file.
    let cache = tempfile::tempdir().unwrap();
    let part = fs::File::open(place(&hub, cache.path())).unwrap();
    part.lock().unwrap();
    let error = pulled(&mut painter(), cache.path()).unwrap_err();
    assert!(error.to_string().contains("another program") && error.exit_code() == 4, "{error}");
}

#[test]
fn a_user_who_stops_goes_on_later() {
    let cache = tempfile::tempdir().unwrap();
    let mut hub = painter();
    let mut listener = Listener { stop_at: Some(500), stopped: false };
    let error = pull(&mut hub, cache.path(), &request("hf:org/name"), &mut listener).unwrap_err();
    assert_eq!(error.exit_code(), 130);
    says_nothing(cache.path());
    assert_eq!(unfinished(cache.path()).len(), 1);
    pulled(&mut hub, cache.path()).unwrap();
    assert_eq!(hub.log[1].1, 500);
}

#[test]
fn what_a_hub_says_leads_nowhere_else() {
    let cache = tempfile::tempdir().unwrap();
    for commit in ["../../../../tmp/x", "main", "", &"A".repeat(40), &"0".repeat(41)] {
        let error = pulled(&mut Fake { commit: commit.to_owned(), ..painter() }, cache.path());
        assert_eq!(error.unwrap_err().exit_code(), 6, "{commit}");
    }
    for hash in ["../../../../tmp/x", "", &"g".repeat(40)] {
        let error = pulled(&mut Fake { hash: Some(hash.to_owned()), ..painter() }, cache.path());
        assert_eq!(error.unwrap_err().exit_code(), 6, "{hash}");
    }
    for address in ["org/name", "hf:../x", "hf:org/name:../x", "hf:org/name@../x", "hf:a/b/c"] {
        let error = pull(&mut painter(), cache.path(), &request(address), &mut Listener::default());
        assert_eq!(error.unwrap_err().exit_code(), 2, "{address}");
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn offline_nothing_is_asked() {
    let error = connect(&HubSettings { offline: true, endpoint: None }).err().unwrap();
    assert!(error.to_string().contains("HF_HUB_OFFLINE") && error.exit_code() == 6, "{error}");
}

#[test]
fn a_name_of_the_manifest_may_stand_for_an_address() {
    let models = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let mut hub = painter();
    let hash = sha256(&hub.files[UNET]);
    let manifest = format!(
        "[[painter]]\nname = \"mine\"\npath = \"hf:org/name\"\nsource = \"\"\nlicence = \"\"\n\
         sha256 = {{ \"{UNET}\" = \"{hash}\" }}\n\
         [[painter]]\nname = \"one\"\npath = \"hf:org/name:{UNET}\"\nsource = \"\"\nlicence = \"\"\n\
         sha256 = {{ \"\" = \"{hash}\" }}\n\
         [[painter]]\nname = \"here\"\npath = \"here\"\nsource = \"\"\nlicence = \"\"\n"
    );
    fs::write(models.path().join("manifest.toml"), manifest).unwrap();
    let manifest = Manifest::open(models.path()).unwrap();
    let manifest = Manifest { hub: Some(cache.path().to_owned()), ..manifest };
    let missing = manifest.painter("mine").unwrap_err();
    assert!(missing.to_string().contains("`troupe models pull mine`"), "{missing}");
    for name in ["mine", "one"] {
        let request = manifest.pulled(name).unwrap();
        assert_eq!(request.pins, [(UNET.to_owned(), hash.clone())].into_iter().collect());
        let there = pull(&mut hub, cache.path(), &request, &mut Listener::default()).unwrap();
        assert_eq!(manifest.painter(name).unwrap().path, there.path);
        assert_eq!(manifest.pulled(&request.address).unwrap().pins, request.pins);
    }
    assert!(manifest.verify().iter().all(|it| it.problem.is_none()), "{:?}", manifest.verify());
    for name in ["here", "nobody", ""] {
        assert_eq!(manifest.pulled(name).unwrap_err().exit_code(), 2, "{name}");
    }
}
