#!/bin/sh
# A machine with a package installed and systemd as its first process, in namespaces that the caller made (unshare -mpnuiC --fork): this machine's root,
# with everything that is written kept in memory. $1: an empty folder, $2: the package.
set -e
cd "$1"
mount -t tmpfs tmpfs .
cd "$1"
mkdir upper work new
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay new
cp "$2" new/postern.deb
cd new

mount -t proc proc proc
mount --rbind /sys sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
for folder in run tmp dev; do
    mount -t tmpfs tmpfs $folder
done
for device in null zero full random urandom tty; do
    : > dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

# Nothing is started but what a unit must have, and nothing that would reach the kernel of the real machine.
rm -rf etc/systemd/system/*.wants etc/systemd/system/default.target
for unit in systemd-sysctl.service systemd-modules-load.service systemd-remount-fs.service systemd-update-utmp.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount dev-mqueue.mount; do
    ln -sf /dev/null etc/systemd/system/$unit
done
: > etc/machine-id
ip link set lo up

mkdir old
mount --make-rprivate /
pivot_root . old
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
chroot . sh -c 'umount -l /old && DEBIAN_FRONTEND=noninteractive dpkg -i --force-depends /postern.deb' > said 2>&1 || { cat said >&2; exit 1; }
exec env -i container=other PATH=$PATH chroot . /lib/systemd/systemd --system --unit=sockets.target
