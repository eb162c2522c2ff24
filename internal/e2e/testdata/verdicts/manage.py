# The smallest application that Django runs.
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(DEBUG=True, SECRET_KEY="none", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__)
urlpatterns = []
if __name__ == "__main__":
    execute_from_command_line(sys.argv)
