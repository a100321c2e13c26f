//! Owners: whose a file is, while they live and after.

use std::io::ErrorKind;

use super::life::{Life, PAGE, adopt, remove, remove_of, touch};
use crate::disk::{DiskDone, DiskError, DiskFactory, ListedFile, OwnerState};

fn listed(life: &Life, name: &str, state: OwnerState, pages: usize) -> ListedFile {
    ListedFile { name: name.into(), owner: life.owner(), state, bytes: (pages * PAGE) as u64, age: None }
}

/// Open ones as well as closed ones.
pub fn a_list_tells_own_files_and_their_lengths(factory: &dyn DiskFactory) {
    let mut life = Life::first(factory);
    assert_eq!(life.list(), []);
    life.leave_file("a", 1, 1);
    let open = life.create("b");
    life.write(open, 0, &[4 * PAGE], 2);
    let own = |name, pages| listed(&life, name, OwnerState::Own, pages);
    let expected = [own("a", 1), own("b", 4)];
    assert_eq!(life.list(), expected);
    life.end();
}

/// Also where its owner is dead; and to touch one that is not there is no error.
pub fn a_list_tells_how_long_nobody_has_touched_a_file(factory: &dyn DiskFactory) {
    let mut dead = Life::numbered(factory, 1);
    dead.leave_file("a", 1, 1);
    assert!(dead.age("a").is_some(), "the clock goes on");
    dead.done(touch("a"));
    dead.done(touch("never-there"));
    assert!(dead.age("a").is_some());
    dead.drop_disk();
    let mut heir = Life::numbered(factory, 2);
    let before = heir.age("a");
    heir.done(adopt(&dead.owner(), "a"));
    assert!(heir.age("a") >= before, "to adopt it is not to touch it");
    heir.done(remove("a"));
    heir.end();
    dead.end();
}

/// They are listed as alive, and cannot be adopted or removed; a name is free to each of two.
pub fn files_of_the_living_are_left_alone(factory: &dyn DiskFactory) {
    let (mut one, mut two) = (Life::numbered(factory, 1), Life::numbered(factory, 2));
    one.leave_file("shared-name", 1, 1);
    two.leave_file("shared-name", 2, 2);
    one.leave_file("only-one", 1, 3);
    let seen = |own: &Life, other: &Life| {
        let state = |life: &Life| if life.owner() == own.owner() { OwnerState::Own } else { OwnerState::Alive };
        let (one, two) = if own.owner() < other.owner() { (own, other) } else { (other, own) };
        let of_one = ["only-one", "shared-name"].map(|name| listed(one, name, state(one), 1));
        let mut all = of_one.to_vec();
        all.push(listed(two, "shared-name", state(two), 2));
        all
    };
    assert_eq!(one.list(), seen(&one, &two));
    assert_eq!(two.list(), seen(&two, &one));
    for name in ["shared-name", "only-one"] {
        for request in [adopt(&one.owner(), name), remove_of(&one.owner(), name)] {
            let error = two.fails(request);
            assert_eq!(error.source.kind(), ErrorKind::ResourceBusy, "{error}");
            assert!(error.path.to_string_lossy().ends_with(name), "{error}");
        }
    }
    two.done(remove("only-one"));
    one.assert_file("shared-name", 1, 1);
    one.assert_file("only-one", 1, 3);
    two.assert_file("shared-name", 2, 2);
    one.end();
    two.end();
}

/// With the bytes that were written, synced or not; and from then on they belong to the heir, whose they stay.
pub fn files_of_the_dead_are_found_adopted_and_read(factory: &dyn DiskFactory) {
    let mut dead = Life::numbered(factory, 1);
    dead.leave_file("legacy", 4, 1);
    let unfinished = dead.create("unfinished");
    dead.write(unfinished, 0, &[PAGE], 2);
    dead.drop_disk();

    let mut heir = Life::numbered(factory, 2);
    let of_dead = |name, pages| listed(&dead, name, OwnerState::Dead, pages);
    assert_eq!(heir.list(), [of_dead("legacy", 4), of_dead("unfinished", 1)]);
    heir.done(adopt(&dead.owner(), "legacy"));
    assert_eq!(heir.list(), [of_dead("unfinished", 1), listed(&heir, "legacy", OwnerState::Own, 4)]);
    heir.assert_file("legacy", 4, 1);
    let error = heir.fails(adopt(&dead.owner(), "never-there"));
    assert_eq!(error.source.kind(), ErrorKind::NotFound, "{error}");

    // A life beside the heir sees whose they are now; one after it finds them as the heir's.
    let mut third = Life::numbered(factory, 3);
    assert_eq!(third.list(), [of_dead("unfinished", 1), listed(&heir, "legacy", OwnerState::Alive, 4)]);
    heir.drop_disk();
    third.done(adopt(&heir.owner(), "legacy"));
    third.assert_file("legacy", 4, 1);
    third.done(adopt(&dead.owner(), "unfinished"));
    third.assert_file("unfinished", 1, 2);
    third.end();
    heir.end();
    dead.end();
}

/// By whoever lives; then nothing is left of their owner.
pub fn files_of_the_dead_can_be_removed(factory: &dyn DiskFactory) {
    let mut dead = Life::numbered(factory, 1);
    dead.leave_file("a", 1, 1);
    dead.leave_file("b", 1, 2);
    dead.drop_disk();
    let mut life = Life::numbered(factory, 2);
    life.done(remove_of(&dead.owner(), "a"));
    life.done(remove_of(&dead.owner(), "a"));
    assert_eq!(life.list(), [listed(&dead, "b", OwnerState::Dead, 1)]);
    life.done(remove_of(&dead.owner(), "b"));
    assert_eq!(life.list(), []);
    assert_eq!(life.list(), [], "and the second list finds nothing that the first has left");
    life.end();
    dead.end();
}

/// Two lives ask for each of many at the same time.
pub fn of_two_who_adopt_a_file_one_gets_it(factory: &dyn DiskFactory) {
    const FILES: usize = 10;
    let mut dead = Life::numbered(factory, 1);
    (0..FILES).for_each(|file| dead.leave_file(&format!("f{file}"), 1, file));
    dead.drop_disk();
    let mut heirs = [Life::numbered(factory, 2), Life::numbered(factory, 3)];
    let mut tokens = Vec::new();
    for file in 0..FILES {
        let ask = |heir: &mut Life| heir.submit(adopt(&dead.owner(), &format!("f{file}")));
        tokens.push([ask(&mut heirs[file % 2]), ask(&mut heirs[1 - file % 2])]);
    }
    for (file, [first, second]) in tokens.into_iter().enumerate() {
        let name = format!("f{file}");
        let first = heirs[file % 2].completion(first).result;
        let second = heirs[1 - file % 2].completion(second).result;
        let heir = match (&first, &second) {
            (Ok(DiskDone::Done), Err(error)) => (file % 2, error),
            (Err(error), Ok(DiskDone::Done)) => (1 - file % 2, error),
            both => panic!("{name} was adopted with {both:?}"),
        };
        assert_lost(heir.1);
        heirs[heir.0].assert_file(&name, 1, file);
        heirs[heir.0].done(remove(&name));
    }
    for heir in heirs {
        heir.end();
    }
    dead.end();
}

fn assert_lost(error: &DiskError) {
    let kind = error.source.kind();
    assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::ResourceBusy), "{error}");
}

/// Neither is lost.
pub fn an_adopted_file_does_not_replace_an_own_one(factory: &dyn DiskFactory) {
    let mut dead = Life::numbered(factory, 1);
    dead.leave_file("both", 1, 1);
    dead.drop_disk();
    let mut life = Life::numbered(factory, 2);
    life.leave_file("both", 2, 2);
    let error = life.fails(adopt(&dead.owner(), "both"));
    assert_eq!(error.source.kind(), ErrorKind::AlreadyExists, "{error}");
    life.assert_file("both", 2, 2);
    life.done(remove("both"));
    life.done(adopt(&dead.owner(), "both"));
    life.assert_file("both", 1, 1);
    life.end();
    dead.end();
}

/// After its end the name is free.
pub fn a_second_life_of_the_same_name_is_refused_while_the_first_lives(factory: &dyn DiskFactory) {
    let mut first = Life::first(factory);
    first.leave_file("mine", 1, 1);
    let Err(error) = factory.build(first.setup().clone()) else { panic!("two lives have the same name") };
    assert!(error.to_string().contains(&first.owner().0), "{error}");
    first.assert_file("mine", 1, 1);
    first.drop_disk();
    let mut again = Life::first(factory);
    assert_eq!(again.list(), [listed(&first, "mine", OwnerState::Own, 1)]);
    again.end();
    first.end();
}
