package filestore

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// passFlags open a folder to pass through it, which needs no right to read it.
const passFlags = unix.O_PATH | unix.O_DIRECTORY

// openStraight opens a folder in one step, following no symbolic link. It
// returns nil if that fails for whatever reason: going step by step will tell.
func openStraight(path string, flags int) *os.File {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &how)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

// openNameless opens a file in dir that has no name and so vanishes with the
// process. It returns nil where the file system knows no such files.
func openNameless(dir *os.File) (*os.File, error) {
	f, err := openat(dir, ".", unix.O_TMPFILE|unix.O_WRONLY, 0o666)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return f, nil
}

// canName reports whether nameless files can get a name, which needs /proc.
func canName() bool {
	_, err := os.Stat("/proc/self/fd")
	return err == nil
}

// keepsInodes reports whether the file system of a folder numbers a file the
// same as long as it lives. Those in user space may number it anew whenever
// the kernel has forgotten it.
func keepsInodes(dir *os.File) bool {
	var st unix.Statfs_t
	err := retry(func() error { return unix.Fstatfs(int(dir.Fd()), &st) })
	return err == nil && st.Type != unix.FUSE_SUPER_MAGIC
}

// noAttribute is the error for an attribute that a file does not have.
const noAttribute = unix.ENODATA

// link gives a nameless file its name; EEXIST if that is taken.
func link(f, dir *os.File, name string) error {
	name = found(dir, name)
	return retry(func() error {
		return unix.Linkat(unix.AT_FDCWD, procPath(f), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	})
}

// setTimes sets the access and modification times of a nameless file.
func setTimes(f *os.File, times []unix.Timespec) error {
	return retry(func() error { return unix.UtimesNanoAt(unix.AT_FDCWD, procPath(f), times, 0) })
}

func procPath(f *os.File) string { return "/proc/self/fd/" + strconv.Itoa(int(f.Fd())) }

// reserve takes the disk's room for a file, where the file system can.
func reserve(f *os.File, size int64) error {
	err := retry(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return f.Truncate(size)
	}
	return err
}

// lock locks a range of a file, to its end if n is 0, for as long as f stays
// open. It does not wait: EAGAIN means that somebody else holds it.
func lock(f *os.File, off, n int64) error {
	return retry(func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: off, Len: n})
	})
}

// renameNew gives a file of a folder a name that must be free: EEXIST if it is
// not.
func renameNew(dir *os.File, from, to string) error {
	to = found(dir, to)
	fd := int(dir.Fd())
	err := retry(func() error { return unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE) })
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return linkNew(dir, from, to) // as on network file systems
	}
	return err
}

// systems names the file systems that files are usually on.
var systems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.F2FS_SUPER_MAGIC: "f2fs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs", unix.FUSE_SUPER_MAGIC: "fuse",
	unix.SMB_SUPER_MAGIC: "smb", unix.SMB2_SUPER_MAGIC: "smb", unix.CIFS_SUPER_MAGIC: "smb", unix.V9FS_MAGIC: "9p",
	unix.MSDOS_SUPER_MAGIC: "vfat", unix.EXFAT_SUPER_MAGIC: "exfat", unix.CEPH_SUPER_MAGIC: "ceph", 0x2fc12fc1: "zfs",
	0x7366746e: "ntfs", 0x482b: "hfs+", 0x0bd00bd0: "lustre", 0x47504653: "gpfs",
}

// system names the file system of a folder, if it is known.
func system(dir *os.File) string {
	var st unix.Statfs_t
	if err := retry(func() error { return unix.Fstatfs(int(dir.Fd()), &st) }); err != nil {
		return ""
	}
	return systems[int64(st.Type)]
}
