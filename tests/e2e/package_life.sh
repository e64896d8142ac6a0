#!/bin/sh
# A package's life in a root of its own: this machine's, with everything that is written kept in memory. Prints what is found; the first line that
# begins with "not" is a fault. $1: the package.
set -e
deb=$(realpath "$1")
root=$(mktemp -d)
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/new"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/new"
for folder in proc dev tmp run; do
    mkdir -p "$root/new/$folder"
done
mount -t proc proc "$root/new/proc"
mount --rbind /dev "$root/new/dev"
mount -t tmpfs tmpfs "$root/new/run"
mount -t tmpfs tmpfs "$root/new/tmp"
cp "$deb" "$root/new/tmp/postern.deb"

in_root() {
    chroot "$root/new" env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# What lies where the package puts something, and who there is.
traces() {
    in_root sh -c 'getent passwd; getent group; find /etc/postern /etc/logrotate.d/postern /etc/systemd /lib/systemd/system/postern.service \
        /usr/sbin/posternd /usr/bin/posternctl /usr/share/doc/postern /usr/share/man/man5/postern.conf.5.gz /var/log/postern /run/postern \
        /var/lib/systemd/deb-systemd-helper-enabled /var/lib/systemd/deb-systemd-helper-masked /var/lib/dpkg/info/postern.list 2>/dev/null || true' | sort
}

is() {
    shift_text=$1
    shift
    if "$@"; then echo "good: $shift_text"; else echo "not: $shift_text"; fi
}

traces > "$root/before"
in_root dpkg -i --force-depends /tmp/postern.deb > "$root/said" 2>&1 || cat "$root/said"
for user in postern postern-worker postern-logger postern-control postern-filter postern-minter; do
    is "user $user" in_root getent passwd $user
done
is "the service is enabled" test -L "$root/new/etc/systemd/system/multi-user.target.wants/postern.service"
is "the configuration is a conffile" in_root sh -c 'dpkg-query -W -f "\${Conffiles}" postern | grep -q /etc/postern/postern.conf'
is "the configuration is good" in_root posternd -n -c /etc/postern/postern.conf
is "the manual pages are there" in_root sh -c 'test -s /usr/share/man/man5/postern.conf.5.gz && test -s /usr/share/man/man8/posternctl.8.gz'
ip link set lo up
in_root install -d -o postern -g postern /run/postern
# /proc as the service manager would show it.
hides=$(sed -n 's/^ProtectProc=//p' "$root/new/lib/systemd/system/postern.service")
mount -o "remount,hidepid=${hides:-off}" "$root/new/proc"
in_root setpriv --reuid=postern --regid=postern --clear-groups posternd -c /etc/postern/postern.conf 2> "$root/log" &
for _ in $(seq 150); do
    in_root posternctl -s /run/postern/control.sock status > "$root/status" 2>/dev/null && break
    sleep 0.1
done
is "it serves as it is installed" grep -q serving "$root/status"
is "it sees what its processes take" sh -c "! grep hidepid '$root/log'"
is "upgraded, it is replaced" in_root posternctl -s /run/postern/control.sock upgrade
is "the log is rotated" in_root sh -c 'cp /etc/logrotate.d/postern /tmp/rotate && { ! command -v logrotate >/dev/null || logrotate -f -s /tmp/state /tmp/rotate; }'
in_root sh -c 'kill -INT $(cat /run/postern/posternd.pid)'
wait
in_root chown root:root /var/log/postern
in_root dpkg -i --force-depends /tmp/postern.deb > "$root/said" 2>&1 || cat "$root/said"
is "the log's folder stays with whom it was given to" test "$(in_root stat -c %U /var/log/postern)" = root
echo "# mine" >> "$root/new/etc/postern/postern.conf"
in_root dpkg -r postern > "$root/said" 2>&1 || cat "$root/said"
is "removed, the configuration stays" grep -q "# mine" "$root/new/etc/postern/postern.conf"
is "removed, the program is gone" test ! -e "$root/new/usr/sbin/posternd"
in_root dpkg --purge postern > "$root/said" 2>&1 || cat "$root/said"
traces > "$root/after"
is "purged, nothing is left" diff "$root/before" "$root/after"
