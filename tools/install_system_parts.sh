#!/usr/bin/env bash
# Install the programs that the tests talk to. Where apt may not be used, name what is missing: its tests are skipped.
set -uo pipefail
parts=(
  chromium chromium-driver fonts-dejavu-core ffmpeg
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad
  gstreamer1.0-plugins-ugly gstreamer1.0-libav gir1.2-gst-rtsp-server-1.0 python3-gi
  mosquitto xdotool xvfb openssh-client openssh-server
)
if ! command -v dpkg-query >/dev/null; then
  echo "not a Debian system: tests of a browser and of cameras are skipped where their programs are missing"
  exit 0
fi
missing=()
for part in "${parts[@]}"; do
  dpkg-query --show --showformat='${Status}' "$part" 2>/dev/null | grep -q 'install ok installed' || missing+=("$part")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then root=(); elif sudo -n true 2>/dev/null; then root=(sudo); else
  echo "not installed, and apt may not be used here: ${missing[*]}"
  echo "  their tests are skipped; to have them: sudo apt-get install ${missing[*]}"
  exit 0
fi
echo "installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
if ! { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/tmp/edgecnn-apt.log 2>&1; then
  tail -n 3 /tmp/edgecnn-apt.log
  echo "apt could not install them: their tests are skipped"
fi
exit 0
