#!/busybox sh
# The first and only program of a Linux that rootlet has started: prints command line, initrd, memory
# and devices, and ends the machine.
#
# Always: each line begins with LOOK; the last one is "LOOK end".
look() { /busybox "$@"; }
look mkdir -p /sys /proc
look mount -t sysfs sysfs /sys
look mount -t proc proc /proc
echo "LOOK cmdline $(look cat /proc/cmdline)"
# A file of the initramfs, by which that is known to be whole.
set -- $(look sha256sum /payload)
echo "LOOK initrd $(look stat -c %s /payload) bytes $1"
look sed -n 's/^ *\(.*System RAM\)/LOOK ram \1/p' /proc/iomem
# A kernel without virtio built in has no such folder.
echo "LOOK virtio" $(look ls /sys/bus/virtio/devices)
echo "LOOK end"
# Without ACPI a PC has no other end; `-no-reboot` makes it the last one.
look reboot -f
