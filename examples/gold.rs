use rootlet::blob::{Image, SourceName};
use rootlet::cache::{Cache, CacheOptions, FormatPolicy};
use rootlet::command::{Command, Counters, GuestRoot, Runner, Scratch};
use rootlet::read::Root;
use rootlet::storage::Storage;
use rootlet::storage::file::FileStorage;
use std::path::Path;
struct Out(Vec<u8>);
impl embedded_io::ErrorType for &mut Out {
    type Error = std::convert::Infallible;
}
impl embedded_io::Write for &mut Out {
    fn write(&mut self, b: &[u8]) -> Result<usize, Self::Error> {
        self.0.extend_from_slice(b);
        Ok(b.len())
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut s = FileStorage::new();
    let img = s.add_disk("image", Path::new(&a[1]), true).unwrap();
    let region = a[2].as_str();
    let reg = (region != "-").then(|| s.add_disk("cache", Path::new(region), false).unwrap());
    for (i, b) in a[3..].iter().enumerate() {
        s.add_disk(&format!("blob{}", i + 1), Path::new(b), true).unwrap();
    }
    let image = Image::read(&mut s, img).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<String> = (1..=a.len() - 3).map(|i| format!("blob{i}")).collect();
    let conf: Vec<(u16, SourceName)> =
        names.iter().enumerate().map(|(i, n)| ((i + 1) as u16, SourceName::Disk(n))).collect();
    let parts = image.bind(&mut s, &conf).unwrap_or_else(|e| panic!("{e}"));
    let cache = reg.map(|r| {
        let mut o = CacheOptions::new(r, [7; 16]);
        o.format = FormatPolicy::Auto;
        Cache::open(&mut s, &o).unwrap_or_else(|e| panic!("{e}"))
    });
    let root: GuestRoot<FileStorage> =
        Root::new(s, cache, &image, &parts).unwrap_or_else(|e| panic!("{e}"));
    let mut sc = Scratch::new(1 << 20);
    let mut out = Out(vec![]);
    let mut r = Runner::new(&root, &mut out, &mut sc);
    let res = r.run(&Command::Manifest("/".into()));
    let files = r.files;
    if let Err(e) = res {
        eprintln!("{e}");
        std::process::exit(1)
    }
    let ok = root.with_layer(|l, s| {
        l.as_mut().map(|c| {
            let d = s.now_ns() + 5_000_000_000;
            c.sync(s, d)
        })
    });
    let mut c = Counters::of(&root);
    c.files = files;
    eprintln!("sync {ok:?} {c}");
    use std::io::Write;
    std::io::stdout().write_all(&out.0).unwrap();
}
