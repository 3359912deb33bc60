@rem The scripts in package.json begin with exec, so that signals reach what they start. On Windows exec is this.
@%*
