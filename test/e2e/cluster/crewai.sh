# Prints the folder of a real CrewAI with everything that it imports (from PyPI, once, cached; the same as the test of the example uses).
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
requirements=$repository/examples/crewai/requirements.txt
version=$(tr -d ' \n' <"$requirements"); venv=$CACHE/${version/==/-}.venv
if [ ! -e "$venv/installed" ]; then
  say "CrewAI from PyPI (a gigabyte, about a minute, once)"
  rm -rf "$venv"
  /usr/bin/python3 -m venv "$venv" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
  touch "$venv/installed"
fi
echo "$venv"/lib/python3*/site-packages
