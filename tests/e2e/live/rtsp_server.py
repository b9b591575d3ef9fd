"""An RTSP server for tests, run by the system's Python: it prints its port, and serves until it is killed.

``rtsp_server.py [PORT [USER PASSWORD]]``; port 0 is any. ``/test`` is GStreamer's test picture in H.264, ``/h265``
and ``/mjpeg`` are the same in others, ``/sound`` comes with sound before it, ``/rare`` has a key frame every 3 s, of
``/broken`` every tenth picture is missing, and in ``/corrupt`` one byte of a thousand is wrong. In the pictures of
``/clock`` 32 bars, the lowest bit first, give the monotonic time at which each was made, milliseconds. Where a part is
not installed it says so and exits with 77.
"""

from __future__ import annotations

import os
import sys
import time

WIDTH, HEIGHT, FPS = 640, 480, int(os.environ.get("RTSP_FPS", "30"))
BARS = 32
MISSING = 77

_ENCODE = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=4000 ! rtph264pay name=pay0 pt=96"
_ENCODE_H265 = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph265pay name=pay0 pt=96"
_SOUND = "audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8"
_PICTURE = f"videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate={FPS}/1"
_LAUNCHES = {
    "/test": f"( {_PICTURE} ! {_ENCODE} )",
    "/rare": f"( {_PICTURE} ! {_ENCODE.replace('key-int-max=15', f'key-int-max={3 * FPS}')} )",
    "/broken": f"( {_PICTURE} ! {_ENCODE.replace('! rtph264pay', '! identity drop-probability=0.1 ! rtph264pay')} )",
    "/corrupt": f"( {_PICTURE} ! {_ENCODE.replace('! rtph264pay', '! breakmydata probability=0.001 ! rtph264pay')} )",
    "/h265": f"( {_PICTURE} ! {_ENCODE_H265} )",
    "/mjpeg": f"( {_PICTURE} ! jpegenc ! rtpjpegpay name=pay0 pt=26 )",
    "/sound": f"( {_SOUND} {_PICTURE} ! {_ENCODE.replace('pay0', 'pay1')} )",
    "/clock": "( appsrc name=clock is-live=true do-timestamp=true format=time "
    f"caps=video/x-raw,format=I420,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! {_ENCODE} )",
}


def picture_of_now() -> bytes:
    """Grey bars in I420."""
    now = int(time.monotonic() * 1000)
    row = b"".join(bytes([235 if now >> bit & 1 else 16]) * (WIDTH // BARS) for bit in range(BARS))
    return row * HEIGHT + bytes([128]) * (WIDTH * HEIGHT // 2)


def main() -> None:
    """Serve."""
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GLib, Gst, GstRtspServer
    except (ImportError, ValueError) as error:
        print(error)
        sys.exit(MISSING)
    Gst.init(None)
    if any(Gst.ElementFactory.find(name) is None for name in ("x264enc", "videotestsrc", "rtph264pay", "appsrc")):
        print("an element is missing")
        sys.exit(MISSING)

    def feed(_factory: object, media: object) -> None:
        source = media.get_element().get_child_by_name("clock")  # type: ignore[attr-defined]

        def push() -> bool:
            source.emit("push-buffer", Gst.Buffer.new_wrapped(picture_of_now()))
            return True

        GLib.timeout_add(1000 // FPS, push)

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    port, *login = sys.argv[1:] or ["0"]
    server.set_service(port)
    if login:
        auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*login), token)
        server.set_auth(auth)
    for path, launch in _LAUNCHES.items():
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(launch)
        factory.set_shared(True)
        if path == "/clock":
            factory.connect("media-configure", feed)
        if login:
            permissions = GstRtspServer.RTSPPermissions()
            permissions.add_permission_for_role("user", "media.factory.access", True)
            permissions.add_permission_for_role("user", "media.factory.construct", True)
            factory.set_permissions(permissions)
        server.get_mount_points().add_factory(path, factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
