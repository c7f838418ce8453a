//! A list whose digests are made by several threads is the same list.

#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(clippy::result_large_err, reason = "the error of a command carries its path")]

use std::convert::Infallible;
use std::thread;

use embedded_io::{ErrorType, Write};
use rootlet::blob::Image;
use rootlet::read::{Budget, Root};
use rootlet::storage::memory::MemoryStorage;
use rootlet_guest::{Ahead, Command, Digests, Done, GuestRoot, Memory, Runner, Scratch};

static TINY: &[u8] = include_bytes!("../../../tests/data/tiny.erofs");

/// Output in memory.
#[derive(Default)]
struct Sink(Vec<u8>);

impl ErrorType for Sink {
    type Error = Infallible;
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

fn root() -> GuestRoot<MemoryStorage<'static>> {
    let mut storage = MemoryStorage::new();
    let device = storage.add_disk("root", TINY).unwrap();
    let image = Image::read(&storage, device).unwrap();
    let sources = image.bind(&mut storage, &[]).unwrap();
    Root::with_budget(storage, None, &image, &sources, &Budget::default()).unwrap()
}

/// Returns the output of a command that has so many helpers, and the work that it counted; `None`
/// is a command whose rows are made at once.
fn run(words: [&str; 2], helpers: Option<usize>) -> (Vec<u8>, Done) {
    let command = Command::parse(&words.map(String::from)).unwrap();
    let (root, mut out, digests) = (root(), Sink::default(), Digests::default());
    let mut scratch = Scratch::new(&command, &Memory::of_heap(64 << 20));
    let mut runner = Runner::new(&root, &mut out, &mut scratch);
    let result = match helpers {
        None => runner.run(&command),
        Some(helpers) => thread::scope(|scope| {
            (0..helpers).for_each(|_| drop(scope.spawn(|| digests.help(&root))));
            let result = runner.run_by(&command, &mut Ahead::new(&digests));
            digests.close();
            result
        }),
    };
    assert!(result.is_ok());
    let done = runner.done;
    (out.0, done)
}

#[test]
fn rows_are_in_the_order_of_the_walk_whoever_makes_the_digests() {
    for words in [["sum", "/"], ["manifest", "/"]] {
        let expected = run(words, None);
        assert!(!expected.0.is_empty() && expected.1.files > 1, "{:?}", expected.1);
        for helpers in 0..4 {
            assert!(run(words, Some(helpers)) == expected, "{words:?} {helpers}");
        }
    }
}
