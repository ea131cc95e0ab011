# A start that failed before its system was up. Run by emergency.service, in the initrd and later.
#
# A version that was good until now goes on trial again: one more try, which the loader counts.
# If that fails too the loader prefers the version before, and the recovery system if there is none
# (docs/adr/0018). Why is left on the boot partition, for whatever runs next.
#
# $1: the root folder; empty, but in tests. It never fails: a restart follows in any case.
set -f
root=${1:-}
loader=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
variables=$root/sys/firmware/efi/efivars
boot=$root/run/kairos-failed-start
mode= version=

say() {
    echo "$*" >"$root/dev/console"
}

for word in $(cat "$root/proc/cmdline"); do
    case $word in
        kairos.mode=*) mode=${word#kairos.mode=} ;;
        systemd.verity_root_data=PARTLABEL=kr_root_*) version=${word##*=kr_root_} ;;
    esac
done

# One line of JSON (node/health.py, TRIAL). Names of units need no escapes but the backslash.
leave_reason() {
    failed=
    for unit in $(systemctl list-units --failed --plain --no-legend | cut -d ' ' -f 1 | head -n 5); do
        failed="$failed $(printf '%s' "$unit" | tr -cd 'A-Za-z0-9@:_.-')"
    done
    mkdir -p "$boot/kairos"
    printf '{"version": "%s", "boot": "%s", "reasons": ["the start failed early:%s"]}\n' \
        "$version" "$(cat "$root/proc/sys/kernel/random/boot_id")" "${failed:- no unit}" \
        >"$boot/kairos/.trial.json.part" &&
        mv "$boot/kairos/.trial.json.part" "$boot/kairos/trial.json"
}

put_on_trial() {
    # Four bytes of attributes, then UTF-16. A variable is no file that tail can seek in.
    partition=$(cat "$variables/LoaderDevicePartUUID-$loader" | tail -c +5 | tr -d '\0' | tr A-Z a-z)
    [ -n "$partition" ] || return 1
    mkdir -p "$boot"
    mount -t vfat -o nodev,nosuid,noexec,umask=0077 "/dev/disk/by-partuuid/$partition" "$boot" ||
        return 1
    leave_reason
    good=$boot/EFI/Linux/kr_$version.efi
    # One without this name has a counter: the loader has counted this try.
    [ ! -e "$good" ] || mv "$good" "$boot/EFI/Linux/kr_$version+1-1.efi"
    moved=$?
    sync
    umount "$boot"
    return $moved
}

case $mode in
    installed)
        if put_on_trial; then
            say "Version $version did not start."
        else
            # Else the same would be started for ever. UTF-16, with the attributes before it.
            name='r\0e\0c\0o\0v\0e\0r\0y\0.\0e\0f\0i\0\0\0'
            printf "\\7\\0\\0\\0$name" >"$variables/LoaderEntryOneShot-$loader"
            say "Version $version did not start, and the boot partition cannot be written."
        fi
        ;;
    recovery)
        say "The recovery system does not start either: install this machine again from its stick."
        sleep 40
        ;;
esac
exit 0
