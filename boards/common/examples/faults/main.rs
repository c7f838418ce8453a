//! An image that fails in the way that its command names, for the test of what is reported then.
//!
//! Always: tells where it will fail, so that the report can be compared; the registers that the
//! report shows hold [`MARK`].
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a bare-metal image: build it with --target x86_64-unknown-none");
}

#[cfg(target_os = "none")]
mod fault;

#[cfg(target_os = "none")]
mod guest {
    use embedded_io::Write;

    use rootlet_board::Machine;
    use rootlet_board::board::{Board, USUAL};
    use rootlet_board::second::{Second, Work};
    use rootlet_board::verdict::Ending;

    use crate::fault;

    /// What stands in a register when the processor stops.
    const MARK: usize = 0x1234_5678_9abc_def0;

    // Console and exit of the boards, which have the same of each architecture; no devices.
    rootlet_board::main!(Board { name: "faults", buses: &[], ..USUAL }, machine: main);

    fn main(mut machine: Machine) -> Ending {
        let how = machine.cmdline.rsplit(' ').next().unwrap_or_default();
        let mut say = |at: usize| {
            let _ = writeln!(machine.out, "at {at:#x}");
        };
        match how {
            "undefined" => {
                say((fault::undefined as *const ()).addr());
                // SAFETY: it ends the machine, which is what is wanted.
                unsafe { fault::undefined(MARK) }
            }
            "unmapped" => {
                say((fault::load as *const ()).addr());
                // SAFETY: nothing is mapped there, so nothing is read.
                unsafe { fault::load(fault::UNMAPPED) }
            }
            "overflow" => {
                let deep = overflow(0);
                say(deep);
            }
            #[cfg(target_arch = "x86_64")]
            "divide" => {
                say((fault::divide as *const ()).addr());
                // SAFETY: as for `undefined`.
                unsafe { fault::divide(0) }
            }
            "panic" => panic!("as it was told"),
            "panic-twice" => panic!("{}", Words(|| panic!("in the words of another one"))),
            "panic-undefined" => {
                // SAFETY: as for `undefined`.
                panic!("{}", Words(|| unsafe { fault::undefined(MARK) }))
            }
            #[cfg(target_arch = "x86_64")]
            "exit" => {
                // SAFETY: the port is read and written at the end alone, and that ends the machine.
                unsafe { fault::break_at_port(0xf4) }
            }
            "second-undefined" => {
                say((fault::undefined as *const ()).addr());
                // SAFETY: as for `undefined`.
                on_second(&|| unsafe { fault::undefined(MARK) });
            }
            "second-overflow" => on_second(&|| {
                overflow(0);
            }),
            "second-panic" => on_second(&|| panic!("as the second was told")),
            _ => {}
        }
        Ending::Failed
    }

    /// Fails on the second processor, while this one waits for it.
    fn on_second(fail: Work<'_>) {
        match Second::prepare() {
            Ok(second) => {
                let has_come = second.beside(fail, wait);
                assert!(!has_come, "a processor that failed has ended its work");
                panic!("no second processor came");
            }
            Err(absent) => panic!("{absent}"),
        }
    }

    /// Gives another processor some time to come.
    fn wait() {
        (0..1 << 26).for_each(|_| core::hint::spin_loop());
    }

    /// Words that go wrong when they are written.
    struct Words(fn() -> !);

    impl core::fmt::Display for Words {
        fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            (self.0)()
        }
    }

    /// Goes deeper than any stack.
    #[expect(unconditional_recursion, reason = "that it does not end is what is wanted")]
    fn overflow(depth: usize) -> usize {
        let bytes = core::hint::black_box([depth as u8; 512]);
        overflow(depth + 1) + usize::from(bytes[depth % bytes.len()])
    }
}
