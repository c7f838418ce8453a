//! How a board's image is given to other monitors than QEMU.
//!
//! Always: nothing here was run: neither monitor emulates, and the tests have no virtualization.
//! Where a board cannot serve, that is said, with the reason.
//!
//! Sources: Firecracker 1.12 (PVH), its configuration file, and how it makes a disk's id (device
//! number, 0 for a plain file, and inode, in decimal, 20 bytes of it); Cloud Hypervisor's
//! `--kernel`, `--disk` and `--serial`.

/// A monitor and what to do.
pub struct Section {
    /// Its heading.
    pub title: &'static str,
    /// Markdown.
    pub body: String,
}

/// The sections of a board, whose image is the file `kernel`.
pub fn sections(board: &str, kernel: &str) -> [Section; 2] {
    [
        Section { title: "Firecracker", body: firecracker(board, kernel) },
        Section { title: "Cloud Hypervisor", body: cloud_hypervisor(board, kernel) },
    ]
}

const UNTESTED: &str = "**Untested**: written from the monitor's documents and source.";

fn firecracker(board: &str, kernel: &str) -> String {
    match board {
        "microvm" => format!(
            "{UNTESTED} Firecracker 1.12 or later, which enters an image by its PVH note; older \
             ones jump to the ELF's entry in another mode. The disk's serial is made by \
             Firecracker, from the file.\n\
             ```sh\n\
             ID=$(stat -c '%d0%i' root.erofs | cut -c 1-20)\n\
             cat > firecracker.json <<END\n\
             {{\n\
             \x20 \"boot-source\": {{\"kernel_image_path\": \"{kernel}\", \"boot_args\": \
             \"image=$ID -- manifest /\"}},\n\
             \x20 \"drives\": [{{\"drive_id\": \"image\", \"path_on_host\": \"root.erofs\", \
             \"is_root_device\": false, \"is_read_only\": true}}],\n\
             \x20 \"machine-config\": {{\"vcpu_count\": 1, \"mem_size_mib\": 64}}\n\
             }}\n\
             END\n\
             firecracker --no-api --config-file firecracker.json\n\
             ```\n\
             The guest ends by a triple fault, as there is no isa-debug-exit; its verdict is on \
             the console. Firecracker adds `pci=off` and `virtio_mmio.device=...` to the line, \
             which the guest knows. It has no virtio-fs.\n"
        ),
        "q35" => "Not for this image, which looks for disks on PCI: take `microvm`.\n".into(),
        "virt-aarch64" => format!(
            "{UNTESTED} Expect no output: Firecracker's serial port on aarch64 is a 16550, and \
             `{kernel}` writes to the UART that the device tree of QEMU's `virt` names.\n"
        ),
        _ => format!("`{kernel}` is not known to run under Firecracker, and was not tried.\n"),
    }
}

fn cloud_hypervisor(board: &str, kernel: &str) -> String {
    match board {
        "microvm" => "Not for this image, which knows virtio-mmio alone: Cloud Hypervisor has its \
                      disks on PCI. Take `q35` where this folder has it.\n"
            .into(),
        "q35" | "virt-aarch64" | "virt-riscv64" => format!(
            "{UNTESTED}\n\
             ```sh\n\
             cloud-hypervisor --kernel {kernel} --cmdline \"image=image -- manifest /\" \\\n\
             \x20   --disk path=root.erofs,readonly=on,serial=image --memory size=64M --cpus \
             boot=1 --serial tty --console off\n\
             ```\n\
             A share wants `--memory size=64M,shared=on --fs tag=share,socket=SOCKET`, with \
             virtiofsd at the socket.\n"
        ),
        _ => format!("`{kernel}` is not known to run under Cloud Hypervisor, and was not tried.\n"),
    }
}
